import { type Ready, type Resource, type SourceHealth, type SourceStatus, useResource } from '@living-map/react';
import { createContext, type ReactNode, useContext } from 'react';
import type { Condition } from './network/condition';
import { shapeOf } from './picture/palette';
import { useText } from './preferences';
import { server } from './server';
import { Glyph } from './ui/mark';

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

const tones: Record<SourceStatus, Condition> = { ok: 'working', stale: 'warning', down: 'failing', unknown: 'idle' };

export const sourceTone = (status: SourceStatus): Condition => tones[status] ?? 'idle';

/** Health of each upstream. */
export function Sources() {
  const { t, duration } = useText();
  return (
    <ul className="rows sources" aria-label={t('sources')}>
      {useSources().map(({ service, status, age_seconds, last_error }) => (
        <li key={service} data-status={status}>
          <Glyph shape={shapeOf(sourceTone(status))} tone={sourceTone(status)} /> <strong>{service}</strong>{' '}
          {t(`source.${status}`)}{' '}
          <span className="muted">
            {age_seconds === null ? t('source.never') : t('source.age', { age: duration(age_seconds) })}
          </span>
          {last_error !== null && <span className="muted block">{last_error}</span>}
        </li>
      ))}
    </ul>
  );
}
