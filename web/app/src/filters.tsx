import type { Layer, Layers } from '@living-map/react';
import { useMemo } from 'react';
import { type Item, itemsOf } from './entities';
import { isFiltering, matches } from './filter';
import { useLayers, useNetwork } from './live';
import { useText } from './preferences';
import { tableItems } from './table/columns';
import { resetFilter, setView, useView } from './view';

/** Entities that a layer's filters apply to: those that its diagram shows. */
export function filterable(layers: Layers | null, layer: Layer): Item[] {
  if (layer !== 'city') return itemsOf(layers, layer);
  return [...itemsOf(layers, 'agents'), ...itemsOf(layers, 'city').filter(({ type }) => type === 'channel')];
}

export function Filters() {
  const { t, maybe } = useText();
  const { layer, filter, table } = useView();
  const layers = useLayers();
  const items = useMemo(() => (table ? tableItems(layers, layer) : filterable(layers, layer)), [layers, layer, table]);
  const kinds = useMemo(() => [...new Set(items.map(({ kind }) => kind))].sort(), [items]);
  const { conditionOf } = useNetwork();
  const shown = useMemo(
    () => items.filter((item) => matches(filter, item, conditionOf)).length,
    [items, filter, conditionOf],
  );
  const microdaos = layers?.city?.items ?? [];
  const set = (change: Partial<typeof filter>) => setView({ filter: { ...filter, ...change } }, false);
  return (
    <fieldset className="filters" aria-label={t('filters')}>
      <label>
        <span className="unseen">{t('filter.kind')}</span>
        <select value={filter.kind ?? ''} onChange={(event) => set({ kind: event.target.value || null })}>
          <option value="">
            {t('filter.kind')}: {t('filter.all')}
          </option>
          {kinds.map((kind) => (
            <option key={kind} value={kind}>
              {maybe(`type.${kind}`, kind)}
            </option>
          ))}
        </select>
      </label>
      <label>
        <span className="unseen">{t('filter.microdao')}</span>
        <select value={filter.microdao ?? ''} onChange={(event) => set({ microdao: event.target.value || null })}>
          <option value="">
            {t('filter.microdao')}: {t('filter.all')}
          </option>
          {microdaos.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {isFiltering(filter) && (
        <>
          <span role="status">{t('filter.count', { shown, total: items.length })}</span>
          <button type="button" onClick={resetFilter}>
            {t('filter.clear')}
          </button>
        </>
      )}
    </fieldset>
  );
}
