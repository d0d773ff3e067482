import { useSyncExternalStore } from 'react';

/** As the media queries in styles/phone.css. */
const PHONE = '(max-width: 600px)';

/** Whether the page is as narrow as a phone. */
export const useIsPhone = (): boolean =>
  useSyncExternalStore(
    (listener) => {
      const query = matchMedia(PHONE);
      query.addEventListener('change', listener);
      return () => query.removeEventListener('change', listener);
    },
    () => matchMedia(PHONE).matches,
    () => false,
  );
