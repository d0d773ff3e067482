import { setPreferences, usePreferences, useText } from '../preferences';

/** Three sentences for the first visit, until they are closed. */
export function Welcome() {
  const { t } = useText();
  const { isIntroduced } = usePreferences();
  if (isIntroduced) return null;
  return (
    <section className="welcome" aria-labelledby="welcome-title">
      <h2 id="welcome-title">{t('welcome')}</h2>
      <p>{t('welcome.map')}</p>
      <p>{t('welcome.click')}</p>
      <p>{t('welcome.time')}</p>
      <button type="button" className="primary" onClick={() => setPreferences({ isIntroduced: true })}>
        {t('welcome.close')}
      </button>
    </section>
  );
}
