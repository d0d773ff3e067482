import type { Layer, Status } from '@living-map/react';
import { Glyph, StatusMark } from '../parts/mark';
import { useText } from '../preferences';

/** One status for each shape. */
const SHOWN: readonly Status[] = ['online', 'idle', 'offline', 'warning', 'error'];

export function Legend({ layer }: { layer: Layer }) {
  const { t } = useText();
  return (
    <section className="legend" aria-label={t('legend')}>
      <p>{t(`${layer}.about`)}</p>
      <p className="row">
        {SHOWN.map((status) => (
          <StatusMark key={status} status={status} />
        ))}
        {layer === 'city' && (
          <span className="status">
            <Glyph shape="bubble" tone="quiet" /> {t('type.channel')}
          </span>
        )}
      </p>
      {layer === 'nodes' && <p>{t('legend.bars')}</p>}
    </section>
  );
}
