import type { SourceHealth, SourceStatus } from '@living-map/react';
import { createContext, type ReactNode, useContext } from 'react';
import { Glyph } from './parts/mark';
import { useText } from './preferences';
import { type Resource, useResource } from './resource';

/** How often the server is asked how it is: no frame of the stream says it. Milliseconds. */
const READY_MS = 5000;

interface Dependency {
  status: string;
  kind?: string;
  error: string | null;
}

/** What `GET /living-map/ready` answers. */
export interface Ready {
  status: string;
  checks: {
    log: Dependency;
    history: Dependency;
    writer: (Dependency & { lag: number | null }) | null;
    map: { following: string; error: string | null; lag: number | null; entities: number };
    sources: SourceHealth[];
    journal: Dependency & { pending: number };
    stream: { clients: number };
  };
}

const ReadyContext = createContext<Resource<Ready> | null>(null);

export function ReadyProvider({ children }: { children: ReactNode }) {
  return <ReadyContext value={useResource<Ready>('living-map/ready', {}, READY_MS)}>{children}</ReadyContext>;
}

export const useReady = (): Resource<Ready> | null => useContext(ReadyContext);
export const useSources = (): readonly SourceHealth[] => useReady()?.data?.checks.sources ?? [];

const tones: Record<SourceStatus, string> = { ok: 'ok', stale: 'warn', down: 'bad', unknown: 'quiet' };
const shapes = { ok: 'disc', stale: 'triangle', down: 'diamond', unknown: 'ring' } as const;

export const sourceTone = (status: SourceStatus): string => tones[status] ?? 'quiet';

/** Each upstream's health, always in sight. */
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
