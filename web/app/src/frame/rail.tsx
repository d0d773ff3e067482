import type { MouseEvent, ReactNode } from 'react';
import { useNetwork } from '../live';
import { useText } from '../preferences';
import { Icon } from '../ui/icon';
import { changedView, formatView, LAYERS, PANELS, type Panel, setView, useView, type View } from '../view';
import { useIsPhone } from './phone';
import { SettingsMenu } from './settings';

/** Layers, panels and settings, at the left. */
export function Rail({ onHelp }: { onHelp: () => void }) {
  const { t, number } = useText();
  const { layer } = useView();
  const shown = useShownPanel();
  const { problems } = useNetwork();
  const badges: Partial<Record<Panel, number>> = { alerts: problems.length };
  return (
    <div className="rail">
      <nav aria-label={t('layers')}>
        {LAYERS.map((name, at) => (
          <RailLink
            key={name}
            change={{ layer: name }}
            isCurrent={layer === name}
            title={`${t(`${name}.about`)} (${at + 1})`}
          >
            <Icon name={name} />
            {t(name)}
          </RailLink>
        ))}
      </nav>
      <nav aria-label={t('panels')}>
        {PANELS.map((name) => (
          <RailLink
            key={name}
            panel={name}
            change={{ panel: shown === name ? 'none' : name }}
            isCurrent={shown === name}
            title={t(`panel.${name}.about`)}
          >
            <Icon name={name} />
            {t(`panel.${name}`)}
            {(badges[name] ?? 0) > 0 && <span className="count">{number(badges[name] ?? 0)}</span>}
          </RailLink>
        ))}
      </nav>
      <SettingsMenu onHelp={onHelp} />
    </div>
  );
}

export interface RailLinkProps {
  change: Partial<View>;
  /** The panel that the link opens, if it is one of a panel. */
  panel?: Panel;
  isCurrent: boolean;
  title: string;
  children: ReactNode;
}

/** Link that changes the view. */
export function RailLink({ change, panel, isCurrent, title, children }: RailLinkProps) {
  const view = useView();
  const go = (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    setView(change);
  };
  return (
    <a
      href={formatView(changedView(view, change)) || './'}
      aria-current={isCurrent ? 'page' : undefined}
      data-panel={panel}
      title={title}
      onClick={go}
    >
      {children}
    </a>
  );
}

/** The panel that is shown: without a choice, the events, unless an entity is open or the screen is small. */
export function useShownPanel(): Panel | null {
  const { panel, entity } = useView();
  const isPhone = useIsPhone();
  if (panel === 'none') return null;
  // On a phone, the scene comes first.
  if (isPhone) return panel;
  return panel ?? (entity === null ? 'events' : null);
}
