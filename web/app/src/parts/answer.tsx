import type { ReactNode } from 'react';
import { useText } from '../preferences';
import { isMissing } from '../server';
import { StateBox } from '../ui/state-box';

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
  if (isMissing(error)) return <StateBox>{t('missing')}</StateBox>;
  if (isLoading && !isKnown) return <StateBox icon="loading">{t('loading')}</StateBox>;
  if (error && !isKnown) {
    return (
      <div role="alert">
        <StateBox icon="trouble" action={<Retry onClick={refetch} />}>
          {t('failed', { error: error.message })}
        </StateBox>
      </div>
    );
  }
  return (
    <>
      {error && (
        <p className="notice" role="alert">
          {t('failed', { error: error.message })} <Retry onClick={refetch} />
        </p>
      )}
      {isKnown && children}
    </>
  );
}

function Retry({ onClick }: { onClick: () => void }) {
  const { t } = useText();
  return (
    <button type="button" onClick={onClick}>
      {t('retry')}
    </button>
  );
}
