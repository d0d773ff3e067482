// @ts-check
/** What the types are made of. */

import { readFileSync } from 'node:fs';

/** @typedef {import('./types.js').Document} Document */

/** @returns {Document} */
const read = (/** @type {string} */ path) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));

/** The server's document. */
export const readDocument = () => read('../../../../openapi/openapi.json');

/** Routes whose shape is agreed on and that the document does not have yet. */
export const readPending = () => read('./pending.json');
