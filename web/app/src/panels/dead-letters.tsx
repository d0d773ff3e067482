import { type LetterItem, type LetterStatus, useResource } from '@living-map/react';
import { useState } from 'react';
import { Action } from '../parts/action';
import { Answer } from '../parts/answer';
import { useText } from '../preferences';
import { errorText, post } from '../requests';
import { server } from '../server';
import { StateBox } from '../ui/state-box';
import { setView, useView } from '../view';

const STATUSES = ['dead', 'retrying', 'replayed', 'discarded'] as const satisfies readonly LetterStatus[];
/** Final statuses, without actions. */
const FINAL: readonly LetterStatus[] = ['replayed', 'discarded'];
const REFRESH_MS = 15_000;

/** Dead letters: messages that failed all their retries. */
export function DeadLetters() {
  const { t } = useText();
  const { list } = useView();
  const status = STATUSES.find((value) => value === list) ?? 'dead';
  const options = { url: server.url, refreshMs: REFRESH_MS };
  const letters = useResource('/living-map/dead-letters', { status }, options);
  return (
    <>
      <div className="tools">
        <label>
          {t('letters.status')}{' '}
          <select value={status} onChange={(event) => setView({ list: event.target.value }, false)}>
            {STATUSES.map((value) => (
              <option key={value} value={value}>
                {t(`letter.${value}`)}
              </option>
            ))}
          </select>
        </label>
      </div>
      <Answer of={letters} isKnown={letters.data !== null}>
        {letters.data?.items.length === 0 && <StateBox icon="letters">{t('letters.empty')}</StateBox>}
        <ul className="rows">
          {letters.data?.items.map((letter) => (
            <DeadLetterRow key={letter.id} letter={letter} onChange={letters.refetch} />
          ))}
        </ul>
        {letters.data?.has_more && <p className="muted small">{t('letters.more')}</p>}
      </Answer>
    </>
  );
}

function DeadLetterRow({ letter, onChange }: { letter: LetterItem; onChange: () => void }) {
  const i18n = useText();
  const { t, clock } = i18n;
  const [problem, setProblem] = useState<string | null>(null);
  const { id, subject, processor, attempts, error, first_failed_at, next_attempt_at, status } = letter;
  const act = async (action: 'replay' | 'discard') => {
    try {
      await post(`living-map/dead-letters/${encodeURIComponent(id)}/${action}`);
      setProblem(null);
    } catch (failure) {
      setProblem(errorText(failure, i18n));
    }
    onChange();
  };
  return (
    <li>
      <strong>{subject}</strong>{' '}
      <span className="muted">
        {t(`letter.${status}`)} · {processor}
      </span>
      <span className="block">{error}</span>
      <span className="muted block">
        {clock(first_failed_at, true)} · {t('letters.attempts', { count: attempts })}
        {next_attempt_at !== null && ` · ${t('letters.next', { time: clock(next_attempt_at, true) })}`}
      </span>
      {!FINAL.includes(status) && (
        <div className="tools">
          <Action operation="replay_dead_letter" onClick={() => act('replay')}>
            {t('letters.replay')}
          </Action>
          <Action operation="discard_dead_letter" onClick={() => act('discard')}>
            {t('letters.discard')}
          </Action>
        </div>
      )}
      {problem && (
        <p className="notice" role="alert">
          {problem}
        </p>
      )}
    </li>
  );
}
