/** Texts that the server wrote, for people: names instead of ids, local times, rounded numbers. */

import type { Layers } from '@living-map/react';
import { itemById } from '../entities';
import type { Text } from '../i18n/text';

const ID = /\b(?:agent|node|microdao|dao|channel):[\w.-]*\w/;
const TIME = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)/;
/** A number with a fraction, which is no part of a name, a version or an address. */
const DECIMAL = /(?<![\w.:/-])-?\d+\.\d+(?![\w:/-]|\.\d)/;
const ANY = new RegExp([ID, TIME, DECIMAL].map(({ source }) => `(${source})`).join('|'), 'g');

export const serverText = (said: string, layers: Layers | null, { clock, number }: Text): string =>
  said.replaceAll(ANY, (whole, id?: string, time?: string) => {
    if (id !== undefined) return itemById(layers, id)?.label ?? id;
    if (time !== undefined) return clock(time, true);
    return number(Number(whole), Math.abs(Number(whole)) < 1 ? 2 : 1);
  });
