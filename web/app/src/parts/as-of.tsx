import { useAsOf } from '../live';
import { useText } from '../preferences';
import { Icon } from '../ui/icon';

/** Time of what is shown, while the map is not followed; otherwise nothing. */
export function AsOf() {
  const { t, clock } = useText();
  const asOf = useAsOf();
  if (asOf === null) return null;
  return (
    <span className="as-of" data-tone="lost">
      <Icon name="lost" />
      {t('asof', { time: clock(asOf) })}
    </span>
  );
}
