/** Global keyboard shortcuts, inactive in text inputs. */

import { moves } from './signals';
import { live } from './travel';
import { getView, LAYERS, setView } from './view';

export interface Shortcuts {
  search: () => void;
  play: () => void;
  help: () => void;
  /** @returns whether something was closed */
  close: () => boolean;
}

const typing = 'input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]';

export function listenToKeys({ search, play, help, close }: Shortcuts): () => void {
  const actions: Record<string, () => void> = {
    '/': search,
    p: play,
    l: live,
    t: () => setView({ table: !getView().table }),
    '?': help,
    '+': () => moves.send('in'),
    '=': () => moves.send('in'),
    '-': () => moves.send('out'),
    '0': () => moves.send('fit'),
    ...Object.fromEntries(LAYERS.map((layer, at) => [String(at + 1), () => setView({ layer })])),
  };
  const listener = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === 'Escape') {
      if (!close() && getView().entity !== null) setView({ entity: null });
      return;
    }
    if (event.target instanceof Element && event.target.matches(typing)) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };
  addEventListener('keydown', listener);
  return () => removeEventListener('keydown', listener);
}
