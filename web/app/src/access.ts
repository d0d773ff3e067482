/** Session hook. */

import { useSyncExternalStore } from 'react';
import { getSession, type Session, subscribe } from './session';

export const useSession = (): Session => useSyncExternalStore(subscribe, getSession, getSession);
