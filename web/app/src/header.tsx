import { useSession } from './access';
import { useConnection, useEventRate, useLayers } from './live';
import { Glyph } from './parts/mark';
import type { Shape } from './picture/palette';
import { LANGUAGES, setPreferences, THEMES, type Theme, usePreferences, useText } from './preferences';
import { Search } from './search';
import { signOut } from './session';
import { AlertBadge } from './severity';
import { useTravel } from './travel';
import { formatView, LAYERS, setView, useView } from './view';

/** @param onSkip skip link: focuses the table view */
export function Header({ onSkip }: { onSkip: () => void }) {
  const { t } = useText();
  return (
    <header className="top">
      <button type="button" className="skip" onClick={onSkip}>
        {t('skip')}
      </button>
      <h1>
        <img src="./assets/icon.svg" alt="" width="22" height="22" />
        {t('title')}
      </h1>
      <LayerTabs />
      <Search />
      <div className="state">
        <HealthBadge />
        <AlertBadge />
        <ConnectionBadge />
      </div>
      <Preferences />
      <SignOut />
    </header>
  );
}

function LayerTabs() {
  const { t } = useText();
  const view = useView();
  return (
    <nav className="layers" aria-label={t('layers')}>
      {LAYERS.map((layer, at) => (
        <a
          key={layer}
          href={formatView({ ...view, layer }) || './'}
          aria-current={view.layer === layer ? 'page' : undefined}
          title={`${t(`${layer}.about`)} (${at + 1})`}
          onClick={(event) => {
            if (event.metaKey || event.ctrlKey || event.shiftKey) return;
            event.preventDefault();
            setView({ layer });
          }}
        >
          {t(layer)}
        </a>
      ))}
    </nav>
  );
}

const healths: Record<string, [Shape, string]> = {
  green: ['disc', 'ok'],
  yellow: ['triangle', 'warn'],
  red: ['diamond', 'bad'],
  unknown: ['ring', 'quiet'],
};

function HealthBadge() {
  const { maybe, t } = useText();
  const health = useLayers()?.city?.health as unknown as string | undefined;
  const known = health !== undefined && Object.hasOwn(healths, health) ? health : 'unknown';
  const [shape, tone] = healths[known] ?? ['ring', 'quiet'];
  return (
    <p className="badge" data-health={known}>
      <Glyph shape={shape} tone={tone} /> {maybe(`health.${known}`, t('health.unknown'))}
    </p>
  );
}

const connections: Record<string, [Shape, string]> = {
  connecting: ['ring', 'quiet'],
  open: ['disc', 'ok'],
  closed: ['triangle', 'warn'],
  error: ['diamond', 'bad'],
};

function ConnectionBadge() {
  const { t, number } = useText();
  const { connectionStatus, error, reconnect } = useConnection();
  const { at } = useTravel();
  const rate = useEventRate();
  const [shape, tone] = connections[connectionStatus] ?? ['ring', 'quiet'];
  const isLost = connectionStatus === 'closed' || connectionStatus === 'error';
  return (
    <div className="badge" data-connection={connectionStatus} title={error?.message}>
      <span role="status">
        <Glyph shape={shape} tone={tone} /> {t(`connection.${connectionStatus}`)}
        {at !== null && ` · ${t('connection.past')}`}
      </span>
      {connectionStatus === 'open' && <span className="muted">{t('rate', { rate: number(rate, 1) })}</span>}
      {isLost && (
        <button type="button" onClick={reconnect}>
          {t('connection.reconnect')}
        </button>
      )}
    </div>
  );
}

const names = { en: 'English', uk: 'Українська' } as const;

function SignOut() {
  const { t } = useText();
  return (
    useSession().token !== null && (
      <button type="button" onClick={signOut}>
        {t('login.leave')}
      </button>
    )
  );
}

export function Preferences() {
  const { t } = useText();
  const { language, theme } = usePreferences();
  return (
    <div className="preferences">
      <select
        aria-label={t('language')}
        value={language}
        onChange={(event) => setPreferences({ language: event.target.value as keyof typeof names })}
      >
        {LANGUAGES.map((value) => (
          <option key={value} value={value}>
            {names[value]}
          </option>
        ))}
      </select>
      <select
        aria-label={t('theme')}
        value={theme}
        onChange={(event) => setPreferences({ theme: event.target.value as Theme })}
      >
        {THEMES.map((value) => (
          <option key={value} value={value}>
            {t(`theme.${value}`)}
          </option>
        ))}
      </select>
    </div>
  );
}
