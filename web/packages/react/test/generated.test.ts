import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { render } from '../scripts/types.js';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

test('the generated types are those of the OpenAPI document; if not, `npm run generate` makes them so', () => {
  expect(read('../src/generated.ts')).toBe(render(JSON.parse(read('../../../../openapi/openapi.json'))));
});

test('a schema that the generator has no type for is refused, not guessed', () => {
  const document = { components: { schemas: { Snapshot: { type: 'strange' } } }, paths: {} };
  expect(() => render(document)).toThrow();
});
