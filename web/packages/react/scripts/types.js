// @ts-check
/** Generates TypeScript types from the schemas of an OpenAPI document: the root schemas and all that they reference. */

/** @typedef {Record<string, any>} Schema */

/** Root schemas: those of stream frames and problem documents. The routes add the rest. */
const ROOTS = ['Snapshot', 'Layer', 'EntityType', 'Problem'];

/** @typedef {{components: {schemas: Record<string, Schema>}, paths: Record<string, Schema>}} Document */

/**
 * @param {Document} document the server's document
 * @param {Document} [pending] routes that are not in it yet; `document` takes precedence
 */
export function render(document, pending = { components: { schemas: {} }, paths: {} }) {
  const schemas = { ...pending.components.schemas, ...document.components.schemas };
  const paths = { ...pending.paths, ...document.paths };
  schemas.Routes = routes(paths, schemas);
  /** @type {Set<string>} */
  const names = new Set();
  const queue = [...ROOTS, 'Routes'];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (names.has(name)) continue;
    if (!schemas[name]) throw new Error(`the document has no schema ${name}`);
    names.add(name);
    queue.push(...references(schemas[name]));
  }
  const types = [...names].sort().map((name) => declaration(name, /** @type {Schema} */ (schemas[name])));
  return `// Generated from openapi/openapi.json by \`npm run generate\`. Not to be edited.\n\n${types.join('\n')}`;
}

/**
 * One schema with a property for each route whose GET returns JSON. Adds a schema for each route's parameters to
 * `schemas`, e.g. `HistoryQuery` for the operation `history`.
 * @param {Record<string, Schema>} paths
 * @param {Record<string, Schema>} schemas
 * @returns {Schema}
 */
function routes(paths, schemas) {
  /** @type {Record<string, Schema>} */
  const properties = {};
  for (const [path, { get: operation }] of Object.entries(paths).sort()) {
    const answer = operation?.responses['200']?.content?.['application/json']?.schema;
    if (!answer || !path.startsWith('/living-map/')) continue;
    const name = `${pascal(operation.operationId)}Query`;
    const query = parameters(operation);
    const isEmpty = Object.keys(query.properties).length === 0;
    if (!isEmpty) schemas[name] = query;
    properties[path] = record(operation.summary, {
      parameters: isEmpty ? { type: 'object', additionalProperties: false } : { $ref: `/${name}` },
      answer,
    });
  }
  return record('Routes that return JSON, by path.', properties);
}

/**
 * @param {string} description
 * @param {Record<string, Schema>} properties
 */
const record = (description, properties) => ({
  type: 'object',
  description,
  required: Object.keys(properties),
  properties,
});

const pascal = (/** @type {string} */ name) => name.replace(/(?:^|_)(\w)/g, (_, letter) => letter.toUpperCase());

/**
 * A route's path and query parameters as one schema.
 * @param {Schema} operation
 * @returns {Schema}
 */
function parameters(operation) {
  /** @type {Schema[]} */
  const all = (operation.parameters ?? []).filter((/** @type {Schema} */ parameter) => parameter.in !== 'header');
  return {
    type: 'object',
    description: operation.summary,
    required: all.filter((parameter) => parameter.required).map((parameter) => parameter.name),
    properties: Object.fromEntries(all.map(({ name, schema, description }) => [name, { description, ...schema }])),
  };
}

/**
 * @param {unknown} value
 * @returns {string[]}
 */
function references(value) {
  if (Array.isArray(value)) return value.flatMap(references);
  if (typeof value !== 'object' || value === null) return [];
  const { example, $ref, ...rest } = /** @type {Schema} */ (value);
  return [...(typeof $ref === 'string' ? [nameOf($ref)] : []), ...Object.values(rest).flatMap(references)];
}

/** @param {string} ref */
const nameOf = (ref) => ref.slice(ref.lastIndexOf('/') + 1);

/**
 * @param {string} name
 * @param {Schema} schema
 */
function declaration(name, schema) {
  const text = schema.properties
    ? `export interface ${name} ${type(schema, '')}\n`
    : `export type ${name} = ${type(schema, '')};\n`;
  return comment(schema, '') + text;
}

/**
 * @param {Schema} schema
 * @param {string} indent
 * @returns {string}
 */
function type(schema, indent) {
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((/** @type {unknown} */ value) => JSON.stringify(value)).join(' | ');
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return choices.map((/** @type {Schema} */ choice) => type(choice, indent)).join(' | ');
  if (schema.allOf) return schema.allOf.map((/** @type {Schema} */ part) => type(part, indent)).join(' & ');
  if (Array.isArray(schema.type)) return schema.type.map((one) => type({ ...schema, type: one }, indent)).join(' | ');
  switch (schema.type) {
    case 'string':
    case 'boolean':
    case 'null':
      return schema.type;
    case 'integer':
    case 'number':
      return 'number';
    case 'array': {
      const item = type(schema.items ?? {}, indent);
      return item.includes(' | ') ? `(${item})[]` : `${item}[]`;
    }
    case 'object':
      return object(schema, indent);
    case undefined:
      return 'unknown';
    default:
      // Fail instead of generating `unknown`: a wrong type would go unnoticed.
      throw new Error(`no type for ${JSON.stringify(schema)}`);
  }
}

/**
 * @param {Schema} schema
 * @param {string} indent
 */
function object(schema, indent) {
  if (!schema.properties) {
    const { additionalProperties: rest } = schema;
    const values = typeof rest === 'object' ? type(rest, indent) : rest === false ? 'never' : 'unknown';
    return `Record<string, ${values}>`;
  }
  const inner = `${indent}  `;
  const lines = Object.entries(schema.properties).map(([key, property]) => {
    const mark = schema.required?.includes(key) ? '' : '?';
    const name = /^[A-Za-z_]\w*$/.test(key) ? key : JSON.stringify(key);
    return `${comment(property, inner)}${inner}${name}${mark}: ${type(property, inner)};\n`;
  });
  return `{\n${lines.join('')}${indent}}`;
}

/**
 * @param {Schema} schema
 * @param {string} indent
 */
function comment(schema, indent) {
  if (!schema.description) return '';
  const text = schema.description.replaceAll('*/', '*\\/').replaceAll('\n', `\n${indent} * `);
  return `${indent}/** ${text} */\n`;
}
