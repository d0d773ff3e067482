import { type ComponentType, Suspense } from 'react';
import { closeEntity, closePanel } from '../open-entity';
import { Alerts } from '../panels/alerts';
import { EntityPanel } from '../panels/entity';
import { Feed } from '../panels/feed';
import { AsOf } from '../parts/as-of';
import { DockButton } from '../parts/dock-button';
import { late } from '../parts/late';
import { usePreferences, useText } from '../preferences';
import { IconButton } from '../ui/button';
import { Icon } from '../ui/icon';
import { ScrollArea } from '../ui/scroll-area';
import { StateBox } from '../ui/state-box';
import { type Panel, useView } from '../view';
import { PanelSize } from './panel-size';
import { useIsPhone } from './phone';
import { useShownPanel } from './rail';

/** Loaded when it is first opened on a phone. */
const PhoneSheet = late(() => import('./phone-sheet'));

const load = {
  changes: () => import('../panels/changes'),
  letters: () => import('../panels/dead-letters'),
  health: () => import('../panels/health'),
  lessons: () => import('../panels/lessons'),
  event: () => import('../panels/event-detail'),
};

/** Loads the panels that the first picture does not need, so that they open while the server is unavailable. */
export const loadPanels = (): Promise<unknown> => Promise.all(Object.values(load).map((loadPanel) => loadPanel()));

const Changes = late(async () => ({ default: (await load.changes()).Changes }));
const DeadLetters = late(async () => ({ default: (await load.letters()).DeadLetters }));
const Health = late(async () => ({ default: (await load.health()).Health }));
const Lessons = late(async () => ({ default: (await load.lessons()).Lessons }));

const contents: Record<Panel, ComponentType> = {
  events: Feed,
  alerts: Alerts,
  health: Health,
  lessons: Lessons,
  letters: DeadLetters,
  changes: Changes,
};

/** The floating panels: the open entity, and one more; side by side where there is space. */
export function Dock() {
  const { entity } = useView();
  const panel = useShownPanel();
  const { isDocked } = usePreferences();
  const isPhone = useIsPhone();
  if (entity === null && panel === null) return null;
  if (isPhone) {
    const close = entity === null ? closePanel : closeEntity;
    return (
      <Suspense>
        <PhoneSheet labelledBy={entity === null ? 'panel-title' : 'entity-title'} onClose={close}>
          {entity === null ? panel && <PanelSheet panel={panel} /> : <EntityPanel id={entity} />}
        </PhoneSheet>
      </Suspense>
    );
  }
  const panels = (entity === null ? 0 : 1) + (panel === null ? 0 : 1);
  return (
    <aside className={isDocked ? 'dock docked' : 'dock'} data-panels={panels}>
      <PanelSize panels={panels} />
      {entity !== null && <EntityPanel key={entity} id={entity} />}
      {panel !== null && <PanelSheet key={panel} panel={panel} />}
    </aside>
  );
}

function PanelSheet({ panel }: { panel: Panel }) {
  const { t } = useText();
  const Content = contents[panel];
  return (
    <section className="sheet" aria-labelledby="panel-title">
      <header>
        <span className="sheet-icon">
          <Icon name={panel} />
        </span>
        <div className="sheet-title">
          <h2 id="panel-title">{t(`panel.${panel}`)}</h2>
          <AsOf />
        </div>
        <DockButton />
        <IconButton isBare icon="close" label={t('close')} onClick={closePanel} />
      </header>
      <ScrollArea id="panel" labelledBy="panel-title">
        <Suspense fallback={<StateBox icon="loading">{t('loading')}</StateBox>}>
          <Content />
        </Suspense>
      </ScrollArea>
    </section>
  );
}
