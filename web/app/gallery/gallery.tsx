/** All components of `src/ui` in all states, with what is made of them. For development and tests; not part of the page. */

import '../src/style.css';
import './gallery.css';
import { Tooltip } from '@base-ui/react/tooltip';
import { LivingMapError } from '@living-map/react';
import { type ReactNode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { SettingsMenu } from '../src/frame/settings';
import { Live } from '../src/live';
import { CONDITIONS } from '../src/network/condition';
import { EntityPanel } from '../src/panels/entity';
import { Answer } from '../src/parts/answer';
import { shapeOf } from '../src/picture/palette';
import { useText } from '../src/preferences';
import { ReadyProvider } from '../src/sources';
import Table from '../src/table/table';
import { IconButton } from '../src/ui/button';
import { Chip } from '../src/ui/chip';
import { Dialog } from '../src/ui/dialog';
import { EventGlyph } from '../src/ui/event-icon';
import { ICON_NAMES, Icon } from '../src/ui/icon';
import { ConditionPill, Glyph, Mark } from '../src/ui/mark';
import { ScrollArea } from '../src/ui/scroll-area';
import { Segments } from '../src/ui/segments';
import { StateBox } from '../src/ui/state-box';
import { Tiles } from '../src/ui/tile';
import { Tip } from '../src/ui/tooltip';
import events from '../src/words/events.json';
import type { EventIcon } from '../src/words/sentence';

/** @param of file in `src/ui`, or what is made of the components */
function Section({ of, children }: { of: string; children: ReactNode }) {
  return (
    <div className="component" data-component={of}>
      <h2>{of}</h2>
      {children}
    </div>
  );
}

function Buttons() {
  const { t } = useText();
  return (
    <Section of="button">
      <button type="button">{t('time.changes')}</button>
      <button type="button" className="primary">
        {t('time.live')}
      </button>
      <button type="button" disabled>
        {t('lessons.confirm')}
      </button>
      <button type="button" className="primary" disabled>
        {t('login.enter')}
      </button>
      <button type="button" aria-pressed={true}>
        {t('feed.pause')}
      </button>
      <IconButton icon="fit" label={t('map.picture')} />
      <IconButton isBare icon="close" label={t('close')} />
      <IconButton icon="show" label={t('entity.fly')} disabled />
    </Section>
  );
}

function Chips() {
  const { t } = useText();
  const [on, setOn] = useState<readonly string[]>(['warning']);
  return (
    <Section of="chip">
      {CONDITIONS.map((condition) => (
        <Chip
          key={condition}
          isOn={on.includes(condition)}
          about={t(`condition.${condition}.about`)}
          onToggle={() => setOn(on.includes(condition) ? on.filter((one) => one !== condition) : [...on, condition])}
        >
          <Glyph shape={shapeOf(condition)} tone={condition} />
          {t(`condition.${condition}`)} <span className="figure">12</span>
        </Chip>
      ))}
    </Section>
  );
}

function Dialogs() {
  const { t } = useText();
  const [isOpen, setOpen] = useState(false);
  return (
    <Section of="dialog">
      <button type="button" onClick={() => setOpen(true)}>
        {t('help')}
      </button>
      {isOpen && (
        <Dialog title={t('help')} onClose={() => setOpen(false)}>
          <p>{t('welcome.map')}</p>
          <button type="button" onClick={() => setOpen(false)}>
            {t('close')}
          </button>
        </Dialog>
      )}
    </Section>
  );
}

const eventIcons = [...new Set(Object.values(events).flatMap((forms) => forms.map(({ icon }) => icon)))].sort();

function Icons() {
  return (
    <>
      <Section of="icon">
        {ICON_NAMES.map((name) => (
          <span key={name}>
            <Icon name={name} /> {name}
          </span>
        ))}
      </Section>
      <Section of="event-icon">
        {eventIcons.map((name) => (
          <span key={name}>
            <EventGlyph icon={name as EventIcon} /> {name}
          </span>
        ))}
      </Section>
    </>
  );
}

function Marks() {
  return (
    <Section of="mark">
      {CONDITIONS.map((condition) => (
        <Mark key={condition} condition={condition} />
      ))}
      {CONDITIONS.map((condition) => (
        <Mark key={condition} condition={condition} isBare />
      ))}
      {CONDITIONS.map((condition) => (
        <ConditionPill key={condition} condition={condition} />
      ))}
    </Section>
  );
}

function Choices() {
  const { t } = useText();
  const [value, setValue] = useState<'map' | 'table'>('map');
  return (
    <Section of="segments">
      <Segments
        label={t('map.view')}
        value={value}
        options={[
          { value: 'map', label: t('map.picture'), icon: 'map' },
          { value: 'table', label: t('map.table'), icon: 'table' },
        ]}
        onChange={setValue}
      />
    </Section>
  );
}

function Scrolled() {
  const { t } = useText();
  return (
    <Section of="scroll-area">
      <div className="scroll">
        <h3 id="scroll-title">{t('help')}</h3>
        <ScrollArea labelledBy="scroll-title">
          {CONDITIONS.map((condition) => (
            <p key={condition}>{t(`condition.${condition}.about`)}</p>
          ))}
        </ScrollArea>
      </div>
    </Section>
  );
}

const refetch = () => {};
const request = { isLoading: false, error: null, refetch };

function States() {
  const { t } = useText();
  return (
    <>
      <Section of="state-box">
        <StateBox>{t('feed.empty')}</StateBox>
        <StateBox icon="loading">{t('loading')}</StateBox>
        <StateBox icon="lost">{t('connection.closed')}</StateBox>
        <StateBox icon="trouble">{t('connection.error')}</StateBox>
        <StateBox icon="alerts">{t('alerts.empty')}</StateBox>
      </Section>
      <Section of="answer">
        <div className="cell" data-state="loading">
          <Answer of={{ ...request, isLoading: true }} isKnown={false}>
            {null}
          </Answer>
        </div>
        <div className="cell" data-state="missing">
          <Answer of={{ ...request, error: new LivingMapError(404, null) }} isKnown={false}>
            {null}
          </Answer>
        </div>
        <div className="cell" data-state="error">
          <Answer of={{ ...request, error: new LivingMapError(503, null) }} isKnown={false}>
            {null}
          </Answer>
        </div>
        <div className="cell" data-state="stale">
          <Answer of={{ ...request, error: new LivingMapError(503, null) }} isKnown>
            <p>{t('alerts.empty')}</p>
          </Answer>
        </div>
        <div className="cell" data-state="known">
          <Answer of={request} isKnown>
            <p>{t('alerts.empty')}</p>
          </Answer>
        </div>
      </Section>
    </>
  );
}

function Figures() {
  const { t, number, percent } = useText();
  return (
    <Section of="tile">
      <Tiles
        figures={[
          { name: t('agents'), value: number(60) },
          { name: t('nodes'), value: number(10_000) },
          { name: t('condition.working.about'), value: percent(0.607) },
        ]}
      />
    </Section>
  );
}

function Tips() {
  const { t } = useText();
  return (
    <Section of="tooltip">
      <Tip text={t('city.about')}>
        <button type="button">{t('city')}</button>
      </Tip>
    </Section>
  );
}

/** Components that show the map of the server that `npm run gallery` proxies to. */
function OfServer() {
  const agent = new URLSearchParams(location.search).get('entity') ?? 'agent:sofia';
  return (
    <ReadyProvider>
      <Live>
        <Section of="menu">
          <SettingsMenu onHelp={() => {}} />
        </Section>
        <Section of="table">
          <div className="tall">
            <Table />
          </div>
        </Section>
        <Section of="sheet">
          <div className="tall">
            <EntityPanel id={agent} />
          </div>
        </Section>
      </Live>
    </ReadyProvider>
  );
}

function Gallery() {
  const { t } = useText();
  return (
    <Tooltip.Provider>
      <main className="gallery">
        <h1>{t('title')}</h1>
        <Buttons />
        <Chips />
        <Choices />
        <Marks />
        <Figures />
        <States />
        <Tips />
        <Dialogs />
        <Scrolled />
        <Icons />
        <OfServer />
      </main>
    </Tooltip.Provider>
  );
}

const root = document.getElementById('gallery');
if (root) createRoot(root).render(<Gallery />);
