import { useText } from '../preferences';
import { type Move, moves } from '../signals';
import { IconButton } from '../ui/button';

const BUTTONS = [
  ['in', 'map.zoom.in'],
  ['out', 'map.zoom.out'],
  ['fit', 'map.fit'],
] as const satisfies readonly (readonly [Move, string])[];

export function Controls() {
  const { t } = useText();
  return (
    <div className="controls">
      {BUTTONS.map(([move, label]) => (
        <IconButton key={move} isBare icon={move} label={t(label)} onClick={() => moves.send(move)} />
      ))}
    </div>
  );
}
