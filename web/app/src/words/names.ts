/** Names instead of ids in texts that the server wrote. */

import type { Layers } from '@living-map/react';
import { itemById } from '../entities';

const IDS = /\b(?:agent|node|microdao|dao|channel):[\w.-]*\w/g;

/** `text` with the names of entities that are on the map. */
export const withNames = (text: string, layers: Layers | null): string =>
  text.replaceAll(IDS, (id) => itemById(layers, id)?.label ?? id);
