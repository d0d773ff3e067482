import { Popover } from '@base-ui/react/popover';
import { useNetwork } from '../live';
import { useText } from '../preferences';
import { Icon } from '../ui/icon';
import { PANELS, type Panel, useView } from '../view';
import { RailLink, useShownPanel } from './rail';
import { SettingsItems } from './settings';

/** Panels with a tab of their own; the others are in the menu. */
const TABS = ['events', 'alerts', 'lessons'] as const satisfies readonly Panel[];
const isTab = (panel: Panel) => TABS.some((tab) => tab === panel);

/** Bar at the bottom of a phone: the scene, the most important panels, and a menu with everything else. */
export function Tabs({ onHelp }: { onHelp: () => void }) {
  const { t } = useText();
  const { table } = useView();
  const shown = useShownPanel();
  return (
    <div className="rail tabs">
      <nav aria-label={t('panels')}>
        <RailLink
          change={{ panel: 'none', entity: null, table: false }}
          isCurrent={shown === null && !table}
          title={t('map.picture')}
        >
          <Icon name="map" />
          {t('map.picture')}
        </RailLink>
        {TABS.map((name) => (
          <PanelTab key={name} panel={name} shown={shown} />
        ))}
      </nav>
      <Popover.Root>
        <Popover.Trigger className="rail-button" data-current={shown !== null && !isTab(shown)}>
          <Icon name="menu" />
          {t('more')}
        </Popover.Trigger>
        <Popover.Portal>
          <Popover.Positioner side="top" align="end" sideOffset={6}>
            <Popover.Popup className="popup settings">
              <Popover.Title className="unseen">{t('more')}</Popover.Title>
              <nav className="more" aria-label={t('more')}>
                {PANELS.filter((name) => !isTab(name)).map((name) => (
                  <PanelTab key={name} panel={name} shown={shown} />
                ))}
              </nav>
              <SettingsItems onHelp={onHelp} />
            </Popover.Popup>
          </Popover.Positioner>
        </Popover.Portal>
      </Popover.Root>
    </div>
  );
}

function PanelTab({ panel, shown }: { panel: Panel; shown: Panel | null }) {
  const { t } = useText();
  const { problems } = useNetwork();
  const isCurrent = shown === panel;
  return (
    <RailLink
      // The sheet shows one thing: a panel takes the place of the entity.
      panel={panel}
      change={isCurrent ? { panel: 'none' } : { panel, entity: null }}
      isCurrent={isCurrent}
      title={t(`panel.${panel}.about`)}
    >
      <Icon name={panel} />
      {t(`panel.${panel}`)}
      {panel === 'alerts' && problems.length > 0 && <span className="count">{problems.length}</span>}
    </RailLink>
  );
}
