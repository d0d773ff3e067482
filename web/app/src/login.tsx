import { type FormEvent, useState } from 'react';
import { useSession } from './access';
import { Preferences } from './frame/settings';
import { useText } from './preferences';
import { signIn } from './session';
import { Glyph } from './ui/mark';

/** Login form, shown instead of the map. */
export function Login() {
  const { t } = useText();
  const { token } = useSession();
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
            <Glyph shape="diamond" tone="failing" /> {t('login.refused')}
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
