import type { Layer } from '@living-map/react';
import { useMemo } from 'react';
import { filterable } from '../filters';
import { useLayers, useNetwork } from '../live';
import { CONDITIONS } from '../network/condition';
import { noCounts } from '../network/state';
import { AsOf } from '../parts/as-of';
import { useText } from '../preferences';
import { tableItems } from '../table/columns';
import { Chip } from '../ui/chip';
import { Glyph } from '../ui/mark';
import { setView, useView } from '../view';
import { shapeOf } from './palette';

/** Conditions with their numbers; each filters the layer. */
export function Legend({ layer }: { layer: Layer }) {
  const { t, number } = useText();
  const { filter, table } = useView();
  const layers = useLayers();
  const { conditionOf } = useNetwork();
  const counts = useMemo(() => {
    const found = noCounts();
    for (const { id } of table ? tableItems(layers, layer) : filterable(layers, layer)) found[conditionOf(id)] += 1;
    return found;
  }, [layers, layer, table, conditionOf]);
  return (
    <section className="legend" aria-label={t('legend')}>
      {CONDITIONS.map((condition) => {
        const isOn = filter.conditions.includes(condition);
        const rest = filter.conditions.filter((other) => other !== condition);
        return (
          <Chip
            key={condition}
            isOn={isOn}
            about={t(`condition.${condition}.about`)}
            onToggle={() => setView({ filter: { ...filter, conditions: isOn ? rest : [...rest, condition] } }, false)}
          >
            <Glyph shape={shapeOf(condition)} tone={condition} />
            <span className="legend-word">{t(`condition.${condition}`)}</span>{' '}
            <span className="figure">{number(counts[condition])}</span>
          </Chip>
        );
      })}
      <AsOf />
      <span className="muted legend-about">{t(`${layer}.about`)}</span>
    </section>
  );
}
