// @ts-check
/** TypeScript types from the schemas of an OpenAPI document: those named and all that they refer to. */

/** @typedef {Record<string, any>} Schema */

/** What the package uses of the server's interface. */
const ROOTS = ['Snapshot', 'Layer', 'EntityType', 'EventList', 'Problem'];
/** Queries of routes that the package asks, by the name their type gets. */
const QUERIES = { HistoryQuery: '/living-map/history' };

/** @param {{components: {schemas: Record<string, Schema>}, paths: Record<string, Schema>}} document */
export function render(document) {
  const schemas = { ...document.components.schemas };
  for (const [name, path] of Object.entries(QUERIES)) schemas[name] = query(document.paths[path]?.get);
  /** @type {Set<string>} */
  const names = new Set();
  const pending = [...ROOTS, ...Object.keys(QUERIES)];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (names.has(name)) continue;
    if (!schemas[name]) throw new Error(`the document has no schema ${name}`);
    names.add(name);
    pending.push(...references(schemas[name]));
  }
  const types = [...names].sort().map((name) => declaration(name, /** @type {Schema} */ (schemas[name])));
  return `// Generated from openapi/openapi.json by \`npm run generate\`. Not to be edited.\n\n${types.join('\n')}`;
}

/**
 * The parameters in a route's query as one schema.
 * @param {Schema} operation
 * @returns {Schema}
 */
function query(operation) {
  /** @type {Schema[]} */
  const parameters = operation.parameters.filter((/** @type {Schema} */ parameter) => parameter.in === 'query');
  return {
    type: 'object',
    description: operation.summary,
    required: parameters.filter((parameter) => parameter.required).map((parameter) => parameter.name),
    properties: Object.fromEntries(
      parameters.map(({ name, schema, description }) => [name, { description, ...schema }]),
    ),
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
      // Not guessed: a wrong type is worse than a generator that says what it lacks.
      throw new Error(`no type for ${JSON.stringify(schema)}`);
  }
}

/**
 * @param {Schema} schema
 * @param {string} indent
 */
function object(schema, indent) {
  if (!schema.properties) {
    const values =
      typeof schema.additionalProperties === 'object' ? type(schema.additionalProperties, indent) : 'unknown';
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
