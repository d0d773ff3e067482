import type { ComponentType } from 'react';
import { Alerts } from '../panels/alerts';
import { Changes } from '../panels/changes';
import { DeadLetters } from '../panels/dead-letters';
import { EntityPanel } from '../panels/entity';
import { Feed } from '../panels/feed';
import { Health } from '../panels/health';
import { Lessons } from '../panels/lessons';
import { useText } from '../preferences';
import { IconButton } from '../ui/button';
import { Icon } from '../ui/icon';
import { ScrollArea } from '../ui/scroll-area';
import { type Panel, setView, useView } from '../view';
import { useShownPanel } from './rail';

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
  if (entity === null && panel === null) return null;
  return (
    <aside className="dock" data-panels={(entity === null ? 0 : 1) + (panel === null ? 0 : 1)}>
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
        <h2 id="panel-title">{t(`panel.${panel}`)}</h2>
        <IconButton isBare icon="close" label={t('close')} onClick={() => setView({ panel: 'none' })} />
      </header>
      <ScrollArea id="panel" labelledBy="panel-title">
        <Content />
      </ScrollArea>
    </section>
  );
}
