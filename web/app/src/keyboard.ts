/** Global keyboard shortcuts, inactive in text inputs. */

import { closeEntity, closePanel } from './open-entity';
import { moves } from './signals';
import { live, step } from './travel';
import { getView, LAYERS, setView } from './view';

export interface Shortcuts {
  command: () => void;
  play: () => void;
  help: () => void;
  /** Whether a dialog or menu is open, which closes itself. */
  isCovered: () => boolean;
}

const typing = 'input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]';

export function listenToKeys({ command, play, help, isCovered }: Shortcuts): () => void {
  const actions: Record<string, () => void> = {
    '/': command,
    p: play,
    l: live,
    ',': () => step(-1),
    '.': () => step(1),
    t: () => setView({ table: !getView().table }),
    '?': help,
    '+': () => moves.send('in'),
    '=': () => moves.send('in'),
    '-': () => moves.send('out'),
    '0': () => moves.send('fit'),
    ...Object.fromEntries(LAYERS.map((layer, at) => [String(at + 1), () => setView({ layer })])),
  };
  const listener = (event: KeyboardEvent) => {
    if (event.defaultPrevented || isCovered()) return;
    if ((event.ctrlKey || event.metaKey) && event.key === 'k') {
      event.preventDefault();
      command();
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') {
      if (document.activeElement?.closest('.sheet:not(.entity)')) closePanel();
      else if (getView().entity !== null) closeEntity();
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
