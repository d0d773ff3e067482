import type { ReactNode } from 'react';
import { useText } from '../preferences';
import { isMissing } from '../server';

interface Asked {
  isLoading: boolean;
  error: Error | null;
  refetch: () => void;
}

/**
 * What is to be seen of an answer that is not there (yet), or else `children`.
 * @param isKnown whether there is an answer, if only an older one
 */
export function Answer({ of, isKnown, children }: { of: Asked; isKnown: boolean; children: ReactNode }) {
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
