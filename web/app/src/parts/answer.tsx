import type { ReactNode } from 'react';
import { useText } from '../preferences';

interface Asked {
  data: unknown;
  error: Error | null;
  isMissing: boolean;
  refetch: () => void;
}

/** What is to be seen of an answer that is not there (yet), or else `children`. */
export function Answer({ resource, children }: { resource: Asked; children: ReactNode }) {
  const { t } = useText();
  const { data, error, isMissing, refetch } = resource;
  if (isMissing) return <p className="empty">{t('missing')}</p>;
  if (error) {
    return (
      <>
        <p className="notice" role="alert">
          {t('failed', { error: error.message })}{' '}
          <button type="button" onClick={refetch}>
            {t('retry')}
          </button>
        </p>
        {data !== null && children}
      </>
    );
  }
  if (data === null) return <p className="empty">{t('loading')}</p>;
  return children;
}
