import { Popover } from '@base-ui/react/popover';
import { LANGUAGES, setLanguage, setPreferences, THEMES, type Theme, usePreferences, useText } from '../preferences';
import { Icon } from '../ui/icon';
import { MetricsLink } from './metrics-link';

const names = { en: 'English', uk: 'Українська' } as const;

/** Language, theme, help, and links for developers. */
export function SettingsMenu({ onHelp }: { onHelp: () => void }) {
  const { t } = useText();
  return (
    <Popover.Root>
      <Popover.Trigger className="rail-button">
        <Icon name="settings" />
        {t('settings')}
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Positioner side="right" align="end" sideOffset={10}>
          <Popover.Popup className="popup settings">
            <Popover.Title className="unseen">{t('settings')}</Popover.Title>
            <SettingsItems onHelp={onHelp} />
          </Popover.Popup>
        </Popover.Positioner>
      </Popover.Portal>
    </Popover.Root>
  );
}

/** Content of the menu. */
export function SettingsItems({ onHelp }: { onHelp: () => void }) {
  const { t } = useText();
  return (
    <>
      <Preferences />
      <Popover.Close className="plain" onClick={onHelp}>
        {t('help')} <kbd>?</kbd>
      </Popover.Close>
      <nav aria-label={t('developers')}>
        <a href="docs/">{t('developers.docs')}</a>
        <a href="openapi.json">OpenAPI</a>
        <MetricsLink />
      </nav>
    </>
  );
}

export function Preferences() {
  const { t } = useText();
  const { language, theme } = usePreferences();
  return (
    <div className="preferences">
      <label>
        <span>{t('language')}</span>
        <select value={language} onChange={(event) => void setLanguage(event.target.value as keyof typeof names)}>
          {LANGUAGES.map((value) => (
            <option key={value} value={value}>
              {names[value]}
            </option>
          ))}
        </select>
      </label>
      <label>
        <span>{t('theme')}</span>
        <select value={theme} onChange={(event) => setPreferences({ theme: event.target.value as Theme })}>
          {THEMES.map((value) => (
            <option key={value} value={value}>
              {t(`theme.${value}`)}
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}
