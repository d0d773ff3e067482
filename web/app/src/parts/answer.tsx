import type { ReactNode } from 'react';
import { useText } from '../preferences';
import { isMissing } from '../server';

interface RequestState {
  isLoading: boolean;
  error: Error | null;
  refetch: () => void;
}

/**
 * Loading, missing or error state of a request; otherwise `children`.
 * @param isKnown whether there is data, possibly of an earlier response
 */
export function Answer({ of, isKnown, children }: { of: RequestState; isKnown: boolean; children: ReactNode }) {
  const { t } = useText();
  const { error, isLoading, refetch } = of;
  if (isMissing(error)) return <p className="empty">{t('missing')}</p>;
  if (isLoading && !isKnown) return <p className="empty">{t('loading')}</p>;
  return (
    <>
      {error && (
        <p className="notice" role="alert">
          {t('failed', { error: error.message })}{' '}
          <button type="button" onClick={refetch}>
            {t('retry')}
          </button>
        </p>
      )}
      {isKnown && children}
    </>
  );
}
