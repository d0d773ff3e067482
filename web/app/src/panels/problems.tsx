/** Problems of the displayed map as rows: alerts, statuses, texts of nodes, upstreams. */

import { useNetwork } from '../live';
import type { Problem } from '../network/state';
import { EntityLink } from '../parts/link';
import { shapeOf } from '../picture/palette';
import { useText } from '../preferences';
import { Glyph, Mark } from '../ui/mark';
import { AlertRow } from './alert';

/** Problems of one entity; renders nothing if there are none. */
export function EntityProblems({ id }: { id: string }) {
  const { t } = useText();
  const own = useNetwork().problems.filter(({ item }) => item?.id === id);
  if (own.length === 0) return null;
  return (
    <ul className="rows problems" aria-label={t('alerts')}>
      {own.map((problem) => (
        <ProblemRow key={problem.alert?.id ?? ''} problem={problem} isOwn />
      ))}
    </ul>
  );
}

interface ProblemRowProps {
  problem: Problem;
  /** Whether the list belongs to one entity, whose name is then omitted. */
  isOwn?: boolean;
  /** Called after a silence was created. */
  onSilence?: () => void;
}

export function ProblemRow({ problem, isOwn = false, onSilence = () => {} }: ProblemRowProps) {
  const { t, maybe } = useText();
  const { alert, source, item, texts, trouble } = problem;
  if (alert !== null) return <AlertRow alert={alert} isOwn={isOwn} onSilence={onSilence} />;
  if (source !== null) {
    return (
      <li>
        <Glyph shape={shapeOf(trouble)} tone={trouble} />{' '}
        {t('alerts.source', { service: source.service, status: t(`source.${source.status}`) })}
        {source.last_error && <span className="muted block">{source.last_error}</span>}
      </li>
    );
  }
  return (
    <li>
      <Mark condition={trouble} />{' '}
      {item && !isOwn && (
        <>
          <EntityLink id={item.id} item={item}>
            {item.label}
          </EntityLink>{' '}
          <span className="muted">{maybe(`type.${item.type}`, item.type)}</span>
        </>
      )}
      {texts.map((text) => (
        <span key={text} className="block">
          {text}
        </span>
      ))}
    </li>
  );
}
