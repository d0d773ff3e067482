// @ts-check
/** Writes src/generated.ts from openapi/openapi.json. */

import { writeFileSync } from 'node:fs';
import { readDocument, readPending } from './document.js';
import { render } from './types.js';

const document = readDocument();
const pending = readPending();
writeFileSync(new URL('../src/generated.ts', import.meta.url), render(document, pending));
for (const path of Object.keys(pending.paths)) {
  if (document.paths[path]) console.log(`the document now contains ${path}: remove it from scripts/pending.json`);
}
