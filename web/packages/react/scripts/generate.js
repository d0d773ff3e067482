// @ts-check
/** Writes src/generated.ts from openapi/openapi.json. */

import { readFileSync, writeFileSync } from 'node:fs';
import { render } from './types.js';

const document = new URL('../../../../openapi/openapi.json', import.meta.url);
const target = new URL('../src/generated.ts', import.meta.url);
writeFileSync(target, render(JSON.parse(readFileSync(document, 'utf8'))));
