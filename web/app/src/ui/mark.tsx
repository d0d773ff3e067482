/** Condition as shape, colour and word. */

import type { Condition } from '../network/condition';
import { type Shape, shapeOf } from '../picture/palette';
import { useText } from '../preferences';
import { SHAPES, STROKE } from './shapes';
import { Tip } from './tooltip';

export function Glyph({ shape, tone }: { shape: Shape; tone: string }) {
  const { path, isFilled } = SHAPES[shape];
  return (
    <svg className="glyph" data-tone={tone} viewBox="0 0 24 24" width="12" height="12" aria-hidden="true">
      {isFilled ? (
        <path d={path} fill="currentColor" />
      ) : (
        <path d={path} fill="none" stroke="currentColor" strokeWidth={STROKE} />
      )}
    </svg>
  );
}

/** @param isBare the word is only for screen readers */
export function Mark({ condition, isBare = false }: { condition: Condition; isBare?: boolean }) {
  const { t } = useText();
  return (
    <span className="mark">
      <Glyph shape={shapeOf(condition)} tone={condition} />
      <span className={isBare ? 'unseen' : undefined}>{t(`condition.${condition}`)}</span>
    </span>
  );
}

/** Condition on a tinted ground, with its meaning on hover. */
export function ConditionPill({ condition }: { condition: Condition }) {
  const { t } = useText();
  return (
    <Tip text={t(`condition.${condition}.about`)}>
      <span className="pill" data-tone={condition}>
        <Glyph shape={shapeOf(condition)} tone={condition} />
        {t(`condition.${condition}`)}
      </span>
    </Tip>
  );
}
