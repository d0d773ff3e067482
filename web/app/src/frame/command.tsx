import { Autocomplete } from '@base-ui/react/autocomplete';
import { useMemo, useState } from 'react';
import { useLayers, useNetwork } from '../live';
import { openEntity } from '../open-entity';
import { setPreferences, THEMES, useText } from '../preferences';
import { search } from '../search';
import { go, live } from '../travel';
import { Dialog } from '../ui/dialog';
import { Icon, type IconName } from '../ui/icon';
import { Mark } from '../ui/mark';
import { LAYERS, PANELS, setView } from '../view';
import { parseMoment } from './moment';

const ENTITIES = 8;

interface Command {
  readonly key: string;
  readonly label: string;
  /** Additional text, such as the type of an entity. */
  readonly about: string;
  readonly icon: IconName | null;
  /** Id of the entity whose condition is shown. */
  readonly entity: string | null;
  readonly run: () => void;
}

/** Command box: finds entities, views, settings and moments. */
export default function CommandBox({ onClose }: { onClose: () => void }) {
  const { t } = useText();
  const [text, setText] = useState('');
  const commands = useCommands(text);
  const { conditionOf } = useNetwork();
  return (
    <Dialog title={t('command')} isTitleHidden className="dialog command" onClose={onClose}>
      <Autocomplete.Root
        open
        inline
        items={commands}
        value={text}
        onValueChange={setText}
        mode="none"
        autoHighlight="always"
        keepHighlight
        itemToStringValue={({ label }: Command) => label}
      >
        <div className="command-input">
          <Icon name="search" />
          <Autocomplete.Input aria-label={t('search')} placeholder={t('command.hint')} spellCheck={false} />
        </div>
        <Autocomplete.Empty>
          <p className="empty">{text.trim() && t('search.none')}</p>
        </Autocomplete.Empty>
        <Autocomplete.List className="command-list">
          {(command: Command) => (
            <Autocomplete.Item
              key={command.key}
              value={command}
              className="command-item"
              onClick={() => {
                onClose();
                command.run();
              }}
            >
              {command.icon && <Icon name={command.icon} />}
              {command.entity && <Mark condition={conditionOf(command.entity)} isBare />}
              <span>{command.label}</span>
              <span className="muted">{command.about}</span>
            </Autocomplete.Item>
          )}
        </Autocomplete.List>
      </Autocomplete.Root>
    </Dialog>
  );
}

/** Commands that match `text`: moments, then entities, then views and settings. */
function useCommands(text: string): Command[] {
  const { t, maybe, clock, language } = useText();
  const layers = useLayers();
  return useMemo(() => {
    const wanted = text.trim().toLocaleLowerCase();
    const command = (key: string, label: string, about: string, icon: IconName, run: () => void): Command => ({
      key,
      label,
      about,
      icon,
      entity: null,
      run,
    });
    const moment = parseMoment(text, Date.now(), language);
    const moments =
      moment === null ? [] : [command('moment', clock(moment, true), t('command.moment'), 'past', () => go(moment))];
    const entities = search(layers, text, ENTITIES).map(
      ({ id, type, label }): Command => ({
        key: id,
        label,
        about: maybe(`type.${type}`, type),
        icon: null,
        entity: id,
        run: () => openEntity(id, type),
      }),
    );
    const views = [
      ...LAYERS.map((layer) => command(layer, t(layer), t('command.layer'), layer, () => setView({ layer }))),
      ...PANELS.map((panel) =>
        command(panel, t(`panel.${panel}`), t('command.panel'), panel, () => setView({ panel })),
      ),
      command('table', t('map.table'), t('command.view'), 'table', () => setView({ table: true })),
      command('picture', t('map.picture'), t('command.view'), 'map', () => setView({ table: false })),
      command('live', t('time.live'), t('time'), 'events', live),
      ...THEMES.map((theme) =>
        command(`theme-${theme}`, `${t('theme')}: ${t(`theme.${theme}`)}`, t('settings'), 'settings', () =>
          setPreferences({ theme }),
        ),
      ),
    ].filter(({ label }) => label.toLocaleLowerCase().includes(wanted));
    return [...moments, ...entities, ...views];
  }, [text, layers, t, maybe, clock, language]);
}
