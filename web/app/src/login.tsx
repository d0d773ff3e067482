import { type FormEvent, useEffect, useState } from 'react';
import { useSession } from './access';
import { useCaller, useCallerError } from './caller';
import { Preferences } from './frame/settings';
import { useText } from './preferences';
import { statusOf } from './server';
import { reject, signIn } from './session';
import { Glyph } from './ui/mark';

/** Login form, shown instead of the map. */
export function Login() {
  const { t } = useText();
  const { token } = useSession();
  const reason = useReason();
  useEffect(() => {
    if (token !== null) reject();
  }, [token]);
  const [text, setText] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    signIn(text.trim());
  };
  return (
    <main className="login">
      <form onSubmit={submit}>
        <h1>
          <img src="./assets/icon.svg" alt="" width="22" height="22" />
          {t('title')}
        </h1>
        <p>{t('login.about')}</p>
        <label htmlFor="token">{t('login.token')}</label>
        <input
          id="token"
          type="password"
          autoComplete="off"
          spellCheck={false}
          required
          value={text}
          aria-describedby={token === null ? undefined : 'login-problem'}
          onChange={(event) => setText(event.target.value)}
        />
        {token !== null && (
          <p id="login-problem" className="notice" role="alert">
            <Glyph shape="diamond" tone="failing" /> {reason}
          </p>
        )}
        <button type="submit" className="primary" disabled={text.trim() === ''}>
          {t('login.enter')}
        </button>
        <p className="muted small">{t('login.kept')}</p>
        <Preferences />
      </form>
    </main>
  );
}

/** Tolerance for the difference between the clocks of the server and the browser (ms). */
const CLOCK_DIFFERENCE_MS = 60_000;

/**
 * Reason why the server rejects the token: what it says, unless the token is unknown or has expired; then whether it was
 * valid in this session, and until when.
 */
function useReason(): string {
  const { t, clock } = useText();
  const caller = useCaller();
  const error = useCallerError();
  if (error && statusOf(error) !== 401) return t('login.failed', { error: error.message });
  if (caller === null) return t('login.refused');
  const { expires_at } = caller;
  const hasExpired = expires_at !== null && Date.parse(expires_at) < Date.now() + CLOCK_DIFFERENCE_MS;
  return hasExpired ? t('login.expired', { time: clock(expires_at, true) }) : t('login.revoked');
}
