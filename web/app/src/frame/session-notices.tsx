import { useEffect, useRef, useState } from 'react';
import { useCaller, useRefreshCaller } from '../caller';
import { useConnection } from '../live';
import { useText } from '../preferences';
import { signOut } from '../session';
import { IconButton } from '../ui/button';
import { Icon } from '../ui/icon';

/** Time before a token expires at which the page says so (ms). */
const WARNING_MS = 5 * 60_000;
/** Interval at which the remaining time is checked (ms). */
const TICK_MS = 1000;

/** What has changed about the session while the page is open: another role, or a token that is about to expire. */
export function SessionNotices() {
  const { connectionStatus } = useConnection();
  const refresh = useRefreshCaller();
  const wasOpen = useRef(true);
  // A server that was restarted may know the token by another role.
  useEffect(() => {
    const isOpen = connectionStatus === 'open';
    if (isOpen && !wasOpen.current) refresh();
    wasOpen.current = isOpen;
  }, [connectionStatus, refresh]);
  return (
    <div className="session-notices" role="status">
      <RoleNotice />
      <ExpiryNotice />
    </div>
  );
}

function RoleNotice() {
  const { t, maybe } = useText();
  const role = useCaller()?.role ?? null;
  const [seen, setSeen] = useState(role);
  useEffect(() => setSeen((before) => before ?? role), [role]);
  if (role === null || seen === null || role === seen) return null;
  const name = (of: string) => maybe(`role.${of}`, of);
  return (
    <p>
      <Icon name="person" />
      <span>{t('session.role', { now: name(role), before: name(seen) })}</span>
      <IconButton isBare icon="close" label={t('close')} onClick={() => setSeen(role)} />
    </p>
  );
}

function ExpiryNotice() {
  const { t, clock } = useText();
  const expiry = useCaller()?.expires_at ?? null;
  const isNear = useIsNear(expiry);
  const [dismissed, setDismissed] = useState<string | null>(null);
  if (expiry === null || !isNear || dismissed === expiry) return null;
  return (
    <p>
      <Icon name="past" />
      <span>{t('session.expires', { time: clock(expiry) })}</span>
      <button type="button" onClick={signOut}>
        {t('session.renew')}
      </button>
      <IconButton isBare icon="close" label={t('close')} onClick={() => setDismissed(expiry)} />
    </p>
  );
}

/** Whether `expiry` is less than {@link WARNING_MS} away. */
function useIsNear(expiry: string | null): boolean {
  const [isNear, setNear] = useState(false);
  useEffect(() => {
    const check = () => setNear(expiry !== null && Date.parse(expiry) - Date.now() < WARNING_MS);
    check();
    if (expiry === null) return;
    const timer = setInterval(check, TICK_MS);
    return () => clearInterval(timer);
  }, [expiry]);
  return isNear;
}
