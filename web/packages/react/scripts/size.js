// @ts-check
/** Checks the size of the built package without React: bundled with all exports, minified and gzipped. */

import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Source: ADR 52. */
const BUDGET_BYTES = 6000;
/** Limit for a bundle that imports a single function: above it, tree-shaking does not work. */
const SHAKEN_BYTES = 700;

const dist = fileURLToPath(new URL('../dist', import.meta.url));

/** @param {string} contents */
async function sizeOf(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: dist },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    external: ['react'],
    write: false,
  });
  return gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length;
}

const whole = await sizeOf(`export * from './index.js';`);
const shaken = await sizeOf(`export { compareIds } from './index.js';`);
console.log(`whole ${whole} of ${BUDGET_BYTES} bytes, one function ${shaken} of ${SHAKEN_BYTES}`);
if (whole > BUDGET_BYTES || shaken > SHAKEN_BYTES) {
  console.error('size limit exceeded');
  process.exitCode = 1;
}
