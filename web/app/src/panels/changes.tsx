import { type ChangedEntity, type EntitySummary, useResource } from '@living-map/react';
import { useEffect, useState } from 'react';
import type { Text } from '../i18n/text';
import { conditionOfStatus } from '../network/condition';
import { Answer } from '../parts/answer';
import { EntityLink } from '../parts/link';
import { useText } from '../preferences';
import { oldestTime } from '../replay/loader';
import { server } from '../server';
import { useTravel } from '../travel';
import { Mark } from '../ui/mark';
import { StateBox } from '../ui/state-box';
import { fieldName, formatField } from './facts';
import { fromLocal, toLocal } from './local-time';

/** Maximum number of rows per group. */
const ROWS = 100;
const HOUR_MS = 3_600_000;

/** Differences of the map between two moments. */
export function Changes() {
  const { t } = useText();
  const { restingAt: at } = useTravel();
  const [from, setFrom] = useState(() => toLocal(at ?? new Date(Date.now() - HOUR_MS / 12).toISOString()));
  const [to, setTo] = useState('');
  const [asked, setAsked] = useState<{ from: string; to: string | null } | null>(null);
  useEffect(() => {
    if (at === null) return;
    setFrom(toLocal(at));
    setAsked({ from: at, to: null });
  }, [at]);
  return (
    <>
      <form
        className="tools"
        onSubmit={(event) => {
          event.preventDefault();
          const start = fromLocal(from);
          if (start) setAsked({ from: start, to: fromLocal(to) });
        }}
      >
        <label>
          {t('changes.from')}{' '}
          <input
            type="datetime-local"
            step="1"
            required
            value={from}
            onChange={(event) => setFrom(event.target.value)}
          />
        </label>
        <label>
          {t('changes.to')}{' '}
          <input type="datetime-local" step="1" value={to} onChange={(event) => setTo(event.target.value)} />
          {to === '' && <span className="muted"> {t('changes.now')}</span>}
        </label>
        <button type="submit">{t('changes.compare')}</button>
      </form>
      {asked === null && <StateBox icon="changes">{t('changes.about')}</StateBox>}
      {asked && <Difference key={`${asked.from} ${asked.to}`} from={asked.from} to={asked.to} />}
    </>
  );
}

function Difference({ from, to }: { from: string; to: string | null }) {
  const { t, clock } = useText();
  const [oldest, setOldest] = useState<string | null>(null);
  const since = oldest ?? from;
  const diff = useResource('/living-map/diff', to === null ? { from: since } : { from: since, to }, server);
  const begin = oldestTime(diff.error);
  useEffect(() => {
    if (begin !== null) setOldest(begin);
  }, [begin]);
  return (
    <>
      {oldest !== null && (
        <p className="notice" role="status">
          {t('time.begins', { time: clock(oldest, true) })}
        </p>
      )}
      <Answer of={diff} isKnown={diff.data !== null}>
        {diff.data && <Groups {...diff.data} />}
      </Answer>
    </>
  );
}

interface Difference {
  added: readonly EntitySummary[];
  removed: readonly EntitySummary[];
  changed: readonly ChangedEntity[];
}

function Groups({ added, removed, changed }: Difference) {
  const { t } = useText();
  if (added.length + removed.length + changed.length === 0)
    return <StateBox icon="changes">{t('changes.none')}</StateBox>;
  return (
    <>
      <Group title={t('changes.added', { count: added.length })} entities={added} />
      <Group title={t('changes.removed', { count: removed.length })} entities={removed} />
      <Group title={t('changes.changed', { count: changed.length })} entities={changed} />
    </>
  );
}

function Group({ title, entities }: { title: string; entities: readonly (EntitySummary & Partial<ChangedEntity>)[] }) {
  const text = useText();
  const { t } = text;
  if (entities.length === 0) return null;
  return (
    <>
      <h3>{title}</h3>
      <ul className="rows">
        {entities.slice(0, ROWS).map(({ id, label, status, fields = [] }) => (
          <li key={id}>
            <Mark condition={conditionOfStatus(status)} isBare /> <EntityLink id={id}>{label}</EntityLink>
            {fields.length > 0 && (
              <dl className="fields">
                {fields.map(({ field, before, after }) => (
                  <div key={field}>
                    <dt>{fieldName(lastName(field), text)}</dt>
                    <dd>
                      <del>{changed(field, before, text)}</del> → <ins>{changed(field, after, text)}</ins>
                    </dd>
                  </div>
                ))}
              </dl>
            )}
          </li>
        ))}
        {entities.length > ROWS && <li className="muted">{t('changes.more', { count: entities.length - ROWS })}</li>}
      </ul>
    </>
  );
}

const lastName = (field: string) => field.slice(field.lastIndexOf('.') + 1);

/** A value before or after the change; a long one is cut. */
function changed(field: string, value: unknown, text: Text): string {
  if (value === null || value === undefined) return '–';
  const said = formatField(lastName(field), value, text) || JSON.stringify(value);
  return said.length > 60 ? `${said.slice(0, 59)}…` : said;
}
