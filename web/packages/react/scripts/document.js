// @ts-check
/** Sources of the generated types. */

import { readFileSync } from 'node:fs';

/** @typedef {import('./types.js').Document} Document */

/** @returns {Document} */
const read = (/** @type {string} */ path) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));

/** Reads the server's OpenAPI document. */
export const readDocument = () => read('../../../../openapi/openapi.json');

/** Reads routes that are agreed on but not in the document yet. */
export const readPending = () => read('./pending.json');
