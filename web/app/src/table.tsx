import { findEntity, type Snapshot } from '@living-map/react';
import { useMemo, useState } from 'react';
import { itemById, itemsOf } from './entities';
import { matches } from './filter';
import { useLayers, useNetwork } from './live';
import { factsOf } from './panels/facts';
import { EntityLink } from './parts/link';
import { useText } from './preferences';
import { Mark } from './ui/mark';
import { useView } from './view';

/** Rows added at a time. */
const STEP = 100;

/** Table view of a layer, accessible to screen readers. */
export function Table() {
  const text = useText();
  const { t, maybe } = text;
  const { layer, filter } = useView();
  const layers = useLayers();
  const [rows, setRows] = useState(STEP);
  const { conditionOf } = useNetwork();
  const items = useMemo(
    () => itemsOf(layers, layer).filter((item) => matches(filter, item, conditionOf)),
    [layers, layer, filter, conditionOf],
  );
  const details = (id: string) => {
    const entity = layers && findEntity({ layers } as Snapshot, id);
    const facts = entity ? factsOf(entity, text).slice(1) : [];
    return facts.map(({ name, value }) => `${name}: ${value}`).join(' · ');
  };
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be focusable by keyboard
    <section className="table" aria-label={t('map.table')} tabIndex={0}>
      <table>
        <caption>{t('table.caption', { layer: t(layer), count: items.length })}</caption>
        <thead>
          <tr>
            <th scope="col">{t('table.name')}</th>
            <th scope="col">{t('table.type')}</th>
            <th scope="col">{t('table.status')}</th>
            <th scope="col">{t('table.microdao')}</th>
            <th scope="col">{t('table.detail')}</th>
          </tr>
        </thead>
        <tbody>
          {items.slice(0, rows).map((item) => {
            const microdao = item.type === 'microdao' || !item.microdaoId ? null : itemById(layers, item.microdaoId);
            return (
              <tr key={item.id}>
                <th scope="row">
                  <EntityLink id={item.id} item={item}>
                    {item.label}
                  </EntityLink>
                </th>
                <td>{maybe(`type.${item.kind}`, item.kind)}</td>
                <td>
                  <Mark condition={conditionOf(item.id)} />
                </td>
                <td>{microdao?.label ?? ''}</td>
                <td className="muted">{details(item.id)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {items.length > rows && (
        <button type="button" onClick={() => setRows(rows + STEP)}>
          {t('table.more')}
        </button>
      )}
    </section>
  );
}
