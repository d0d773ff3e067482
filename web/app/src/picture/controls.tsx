import { useText } from '../preferences';
import { type Move, moves } from '../signals';

const BUTTONS: readonly [Move, string, 'map.zoom.in' | 'map.zoom.out' | 'map.fit'][] = [
  ['in', '+', 'map.zoom.in'],
  ['out', '−', 'map.zoom.out'],
  ['fit', '⤢', 'map.fit'],
];

export function Controls() {
  const { t } = useText();
  return (
    <div className="controls">
      {BUTTONS.map(([move, sign, label]) => (
        <button key={move} type="button" aria-label={t(label)} title={t(label)} onClick={() => moves.send(move)}>
          {sign}
        </button>
      ))}
    </div>
  );
}
