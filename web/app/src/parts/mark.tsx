import type { Status } from '@living-map/react';
import { type Shape, shapeOf, toneOf } from '../picture/palette';
import { useText } from '../preferences';
import { SHAPES, STROKE } from './shapes';

export function Glyph({ shape, tone }: { shape: Shape; tone: string }) {
  const { path, isFilled } = SHAPES[shape];
  return (
    <svg className={`glyph ${tone}`} viewBox="0 0 24 24" width="12" height="12" aria-hidden="true">
      {isFilled ? (
        <path d={path} fill="currentColor" />
      ) : (
        <path d={path} fill="none" stroke="currentColor" strokeWidth={STROKE} />
      )}
    </svg>
  );
}

/** Status as shape, colour and text. */
export function StatusMark({ status, isBare = false }: { status: Status; isBare?: boolean }) {
  const { maybe } = useText();
  const word = maybe(`status.${status}`, status);
  return (
    <span className="status">
      <Glyph shape={shapeOf(status)} tone={toneOf(status)} />
      <span className={isBare ? 'unseen' : undefined}>{word}</span>
    </span>
  );
}
