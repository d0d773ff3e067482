import { type Alert, type Resource, type Silence, useResource } from '@living-map/react';
import { useId, useState } from 'react';
import { Action } from '../parts/action';
import { Answer } from '../parts/answer';
import { useText } from '../preferences';
import { errorText, remove } from '../requests';
import { server } from '../server';
import { LENGTHS, namedBy, type Scope, scopesOf, silenceOf } from '../silences';

/** Polling interval; silences are not part of the map (ms). */
const REFRESH_MS = 15_000;

type List = Resource<{ items: Silence[] }>;

export const useSilences = (): List =>
  useResource('/living-map/alerts/silences', {}, { url: server.url, refreshMs: REFRESH_MS });

/** Active silences; renders nothing if there are none. */
export function Silences({ of: silences }: { of: List }) {
  const { t } = useText();
  const items = silences.data?.items ?? [];
  if (items.length === 0 && !silences.error) return null;
  return (
    <>
      <h3>{t('silences')}</h3>
      <Answer of={silences} isKnown={silences.data !== null}>
        <ul className="rows" aria-label={t('silences')}>
          {items.map((silence) => (
            <SilenceRow key={silence.id} silence={silence} onEnd={silences.refetch} />
          ))}
        </ul>
      </Answer>
    </>
  );
}

function SilenceRow({ silence, onEnd }: { silence: Silence; onEnd: () => void }) {
  const i18n = useText();
  const { t, clock } = i18n;
  const [problem, setProblem] = useState<string | null>(null);
  const { id, until, by, note } = silence;
  const names = namedBy(silence).map(([scope, name]) => t(`silences.${scope}`, { name }));
  const end = async () => {
    try {
      await remove(`living-map/alerts/silences/${encodeURIComponent(id)}`);
      // The focused button is removed with its row: move the focus to the panel.
      document.getElementById('panel')?.focus();
    } catch (error) {
      setProblem(errorText(error, i18n));
    }
    onEnd();
  };
  return (
    <li>
      <strong>{names.join(', ')}</strong> {t('silences.until', { time: clock(until, true) })}
      {note !== null && <span className="block">{note}</span>}
      {by !== null && <span className="muted block">{t('silences.by', { by })}</span>}
      <div className="tools">
        <Action operation="end_silence" onClick={end}>
          {t('silences.end')}
        </Action>
      </div>
      {problem && (
        <p className="notice" role="alert">
          {problem}
        </p>
      )}
    </li>
  );
}

interface NewSilenceProps {
  alert: Alert;
  onBegin: (silence: ReturnType<typeof silenceOf>) => void;
  onLeave: () => void;
}

/** Form for a new silence: scope, duration and reason. */
export function NewSilence({ alert, onBegin, onLeave }: NewSilenceProps) {
  const { t, duration } = useText();
  const id = useId();
  const [scope, setScope] = useState<Scope>('alert');
  const [minutes, setMinutes] = useState<number>(60);
  const [reason, setReason] = useState('');
  return (
    <form
      className="silence"
      onSubmit={(event) => {
        event.preventDefault();
        onBegin(silenceOf(alert, scope, minutes, reason));
      }}
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        // Escape closes this form, not the open entity.
        event.preventDefault();
        onLeave();
      }}
    >
      <label htmlFor={`${id}-scope`}>{t('silences.scope')}</label>
      <select
        id={`${id}-scope`}
        // biome-ignore lint/a11y/noAutofocus: the user has just opened the form
        autoFocus
        value={scope}
        onChange={(event) => setScope(event.target.value as Scope)}
      >
        {scopesOf(alert).map(([value, name]) => (
          <option key={value} value={value}>
            {t(`silences.${value}`, { name })}
          </option>
        ))}
      </select>
      <label htmlFor={`${id}-length`}>{t('silences.length')}</label>
      <select id={`${id}-length`} value={minutes} onChange={(event) => setMinutes(Number(event.target.value))}>
        {LENGTHS.map((value) => (
          <option key={value} value={value}>
            {duration(value * 60)}
          </option>
        ))}
      </select>
      <label htmlFor={`${id}-reason`}>{t('silences.reason')}</label>
      <input id={`${id}-reason`} required value={reason} onChange={(event) => setReason(event.target.value)} />
      <div className="tools">
        <button type="submit" className="primary" disabled={reason.trim() === ''}>
          {t('silences.begin')}
        </button>
        <button type="button" onClick={onLeave}>
          {t('silences.cancel')}
        </button>
      </div>
    </form>
  );
}
