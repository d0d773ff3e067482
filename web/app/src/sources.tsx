import { type Ready, type Resource, type SourceHealth, type SourceStatus, useResource } from '@living-map/react';
import { createContext, type ReactNode, useContext } from 'react';
import { Glyph } from './parts/mark';
import { useText } from './preferences';
import { server } from './server';

/** Polling interval of the readiness endpoint; the stream does not carry it (ms). */
const READY_MS = 5000;

const ReadyContext = createContext<Resource<Ready> | null>(null);

export function ReadyProvider({ children }: { children: ReactNode }) {
  const ready = useResource('/living-map/ready', {}, { url: server.url, refreshMs: READY_MS });
  return <ReadyContext value={ready}>{children}</ReadyContext>;
}

export const useReady = (): Resource<Ready> | null => useContext(ReadyContext);

/** Whether a valid token is missing: without the viewer role, the readiness response has no checks. */
export const useIsTokenMissing = (): boolean => useReady()?.data?.checks === null;

export const useSources = (): readonly SourceHealth[] => useReady()?.data?.checks?.sources ?? [];

const tones: Record<SourceStatus, string> = { ok: 'ok', stale: 'warn', down: 'bad', unknown: 'quiet' };
const shapes = { ok: 'disc', stale: 'triangle', down: 'diamond', unknown: 'ring' } as const;

export const sourceTone = (status: SourceStatus): string => tones[status] ?? 'quiet';

/** Health of each upstream, in the header. */
export function Sources() {
  const { t, duration } = useText();
  return (
    <ul className="sources" aria-label={t('sources')}>
      {useSources().map(({ service, status, age_seconds, last_error }) => {
        const age = age_seconds === null ? t('source.never') : t('source.age', { age: duration(age_seconds) });
        return (
          <li key={service} title={last_error ? `${age} · ${last_error}` : age}>
            <Glyph shape={shapes[status] ?? 'ring'} tone={sourceTone(status)} />
            {service}
            <span className={status === 'ok' ? 'unseen' : 'muted'}>
              {t(`source.${status}`)}
              {status !== 'ok' && age_seconds !== null && `, ${duration(age_seconds)}`}
            </span>
          </li>
        );
      })}
    </ul>
  );
}
