import { type JournalHealth, useErrors } from '@living-map/react';
import { Answer } from '../parts/answer';
import { useText } from '../preferences';
import { server } from '../server';
import { Sources, useReady } from '../sources';
import { Glyph } from '../ui/mark';

/** Period of the health summary (minutes). */
const MINUTES = 60;
const REFRESH_MS = 10_000;
const ENTRIES = 50;

/** Health panel: summary of the error journal, readiness checks and recent errors. */
export function Health() {
  const { t, clock } = useText();
  const journal = useErrors({ minutes: MINUTES, limit: ENTRIES }, { url: server.url, refreshMs: REFRESH_MS });
  const { health, items } = journal;
  return (
    <>
      <h3>{t('broken.question')}</h3>
      <Answer of={journal} isKnown={health !== null}>
        {health && <Verdict health={health} />}
      </Answer>
      <h3>{t('sources')}</h3>
      <Sources />
      <h3>{t('broken.parts')}</h3>
      <Checks />
      {items.length > 0 && (
        <>
          <h3>{t('broken.entries')}</h3>
          <ul className="rows">
            {items.toReversed().map(({ id, ts, op, target, key, error, rescued }) => (
              <li key={id}>
                <time dateTime={ts}>{clock(ts)}</time> <strong>{target}</strong> {op} <code>{key}</code>
                <span className="block">{error}</span>
                {rescued && <span className="muted block">{t('broken.rescued')}</span>}
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

function Verdict({ health }: { health: JournalHealth }) {
  const { t, number } = useText();
  const { total_errors: count, period_minutes: minutes, unhealthy_targets: unhealthy } = health;
  const isUnhealthy = unhealthy.length > 0;
  const text = isUnhealthy
    ? t('broken.yes', { targets: unhealthy.join(', ') })
    : t(count > 0 ? 'broken.some' : 'broken.no', { count, minutes });
  return (
    <>
      <p className="verdict" data-broken={isUnhealthy}>
        <Glyph shape={isUnhealthy ? 'diamond' : 'disc'} tone={isUnhealthy ? 'failing' : 'working'} /> {text}
      </p>
      {count > 0 && (
        <dl className="facts" aria-label={t('broken.targets')}>
          {Object.entries(health.per_target).map(([target, failed]) => (
            <div key={target}>
              <dt>{target}</dt>
              <dd>{number(failed)}</dd>
            </div>
          ))}
        </dl>
      )}
    </>
  );
}

function Checks() {
  const { t, number } = useText();
  const ready = useReady();
  const checks = ready?.data?.checks;
  if (!checks) return ready?.error ? <p className="notice">{t('broken.failed')}</p> : null;
  const { log, history, writer, journal, map, stream } = checks;
  const rows: [string, string, string | null][] = [
    [t('broken.map'), `${map.following}, ${t('broken.entities', { count: map.entities })}`, map.error],
    [t('broken.log'), `${log.kind ?? ''} ${log.status}`, log.error ?? log.warning],
    [t('broken.history'), `${history.kind ?? ''} ${history.status}`, history.error],
    [t('broken.journal'), journal.status, journal.error],
    [t('broken.clients'), number(stream.clients), null],
  ];
  if (writer) rows.push([t('broken.writer'), writer.status, writer.error]);
  return (
    <dl className="facts">
      {rows.map(([name, value, error]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            {value}
            {error && <span className="block muted">{error}</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}
