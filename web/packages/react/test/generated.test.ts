import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readDocument, readPending } from '../scripts/document.js';
import { render } from '../scripts/types.js';

test('the generated types match the OpenAPI document', () => {
  const generated = readFileSync(new URL('../src/generated.ts', import.meta.url), 'utf8');
  expect(generated).toBe(render(readDocument(), readPending()));
});

const empty = { components: { schemas: {} }, paths: {} };
const schemas = {
  Snapshot: { type: 'object' },
  Layer: { type: 'string' },
  EntityType: { type: 'string' },
  Problem: { type: 'object' },
};
const answering = (schema: object) => ({ 200: { content: { 'application/json': { schema } } } });

test('an unsupported schema is an error', () => {
  const document = { components: { schemas: { ...schemas, Layer: { type: 'strange' } } }, paths: {} };
  expect(() => render(document)).toThrow('no type for');
});

test('a dangling reference is an error', () => {
  expect(() => render(empty)).toThrow('no schema');
});

test('a route has its path and query parameters and its response', () => {
  const parameters = [
    { name: 'id', in: 'path', required: true, schema: { type: 'string' } },
    { name: 'limit', in: 'query', schema: { type: 'integer' } },
    { name: 'If-None-Match', in: 'header', schema: { type: 'string' } },
  ];
  const get = { operationId: 'a_thing', summary: 'It', parameters, responses: answering({ type: 'null' }) };
  const plain = { operationId: 'plain', summary: 'It', responses: answering({ type: 'boolean' }) };
  const paths = { '/living-map/things/{id}': { get }, '/living-map/plain': { get: plain } };
  const text = render({ components: { schemas }, paths });
  expect(text).toContain('export interface AThingQuery {\n  id: string;\n  limit?: number;\n}');
  expect(text).toContain('"/living-map/things/{id}": {\n    parameters: AThingQuery;\n    answer: null;\n  };');
  expect(text).toContain('parameters: Record<string, never>;\n    answer: boolean;');
});

test('the document takes precedence over pending routes', () => {
  const pending = { components: { schemas: { Thing: { const: 'pending' } } }, paths: {} };
  const get = { operationId: 'thing', responses: answering({ $ref: '#/components/schemas/Thing' }) };
  const document = { components: { schemas: { ...schemas, Thing: { const: 'served' } } }, paths: {} };
  const paths = { '/living-map/thing': { get } };
  expect(render({ ...document, paths }, pending)).toContain('type Thing = "served"');
  expect(render({ components: { schemas }, paths }, pending)).toContain('type Thing = "pending"');
});
