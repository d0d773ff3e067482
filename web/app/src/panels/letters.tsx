import { type Resource, useResource } from '@living-map/react';
import { useState } from 'react';
import { Answer } from '../parts/answer';
import { useText } from '../preferences';
import { post, server } from '../server';

interface Letter {
  id: string;
  subject: string;
  attempts: number;
  error: string;
  first_failed_at: string;
  status: string;
}

const PATH = 'living-map/dead-letters';
const REFRESH_MS = 15_000;

/** Messages that could not be processed. */
export function Letters() {
  const { t } = useText();
  const options = { url: server.url, refreshMs: REFRESH_MS };
  // Not every server's OpenAPI document has the route.
  const letters = useResource(`/${PATH}` as never, {} as never, options) as Resource<{ items: Letter[] }>;
  return (
    <Answer of={letters} isKnown={letters.data !== null}>
      {letters.data?.items.length === 0 && <p className="empty">{t('letters.empty')}</p>}
      <ul className="rows">
        {letters.data?.items.map((letter) => (
          <LetterRow key={letter.id} letter={letter} onChange={letters.refetch} />
        ))}
      </ul>
    </Answer>
  );
}

function LetterRow({ letter, onChange }: { letter: Letter; onChange: () => void }) {
  const { t, clock } = useText();
  const [problem, setProblem] = useState<string | null>(null);
  const { id, subject, attempts, error, first_failed_at, status } = letter;
  const act = async (action: 'replay' | 'discard') => {
    try {
      await post(`${PATH}/${encodeURIComponent(id)}/${action}`);
      setProblem(null);
    } catch (failure) {
      setProblem(t('failed', { error: String((failure as Error).message) }));
    }
    onChange();
  };
  return (
    <li>
      <strong>{subject}</strong> <span className="muted">{status}</span>
      <span className="block">{error}</span>
      <span className="muted block">
        {clock(first_failed_at, true)} · {t('letters.attempts', { count: attempts })}
      </span>
      <div className="tools">
        <button type="button" onClick={() => act('replay')}>
          {t('letters.replay')}
        </button>
        <button type="button" onClick={() => act('discard')}>
          {t('letters.discard')}
        </button>
      </div>
      {problem && (
        <p className="notice" role="alert">
          {problem}
        </p>
      )}
    </li>
  );
}
