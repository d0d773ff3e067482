import { Popover } from '@base-ui/react/popover';
import { Suspense } from 'react';
import { isFiltering } from '../filter';
import { Filters } from '../filters';
import { late } from '../parts/late';
import { Legend } from '../picture/legend';
import { Picture } from '../picture/picture';
import { useText } from '../preferences';
import { Icon } from '../ui/icon';
import { Segments } from '../ui/segments';
import { LAYERS, setView, useView } from '../view';
import { useIsPhone } from './phone';
import { Welcome } from './welcome';

/** Loaded when it is first shown. */
const Table = late(() => import('../table/table'));

/** The layer as a picture or as a table, with what belongs to it. */
export function Stage() {
  const { t } = useText();
  const { table, layer } = useView();
  const isPhone = useIsPhone();
  return (
    <>
      {table ? (
        <Suspense fallback={<section className="table" aria-busy="true" />}>
          <Table key={layer} />
        </Suspense>
      ) : (
        <Picture />
      )}
      <div className="stage-tools">
        {isPhone && <LayerChoice />}
        <Segments
          label={t('map.view')}
          value={table ? 'table' : 'map'}
          options={[
            { value: 'map', label: t('map.picture'), icon: 'map' },
            { value: 'table', label: t('map.table'), icon: 'table' },
          ]}
          onChange={(value) => setView({ table: value === 'table' })}
        />
        {isPhone ? <FilterMenu /> : <Filters />}
      </div>
      <Welcome />
      <Legend layer={layer} />
    </>
  );
}

/** The layer, where the rail has no room for them. */
function LayerChoice() {
  const { t } = useText();
  const { layer } = useView();
  return (
    <label>
      <span className="unseen">{t('layers')}</span>
      <select
        value={layer}
        onChange={(event) => setView({ layer: LAYERS.find((name) => name === event.target.value) ?? layer })}
      >
        {LAYERS.map((name) => (
          <option key={name} value={name}>
            {t(name)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The filters, where they have no room. */
function FilterMenu() {
  const { t } = useText();
  const { filter } = useView();
  return (
    <Popover.Root>
      <Popover.Trigger className="filter-button" aria-pressed={isFiltering(filter)}>
        <Icon name="filter" />
        <span className="unseen">{t('filters')}</span>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Positioner align="end" sideOffset={6}>
          <Popover.Popup className="popup">
            <Popover.Title className="unseen">{t('filters')}</Popover.Title>
            <Filters />
          </Popover.Popup>
        </Popover.Positioner>
      </Popover.Portal>
    </Popover.Root>
  );
}
