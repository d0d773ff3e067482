// @ts-check
/** Checks the package that `npm pack` would publish: files, `exports`, and that Node can import it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const root = fileURLToPath(new URL('..', import.meta.url));
const [packed] = JSON.parse(
  execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' }),
);
/** @type {string[]} */
const files = packed.files.map((/** @type {{path: string}} */ { path }) => path);
const wanted = ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json', 'dist/index.js', 'dist/index.d.ts'];
for (const file of wanted) assert(files.includes(file), `missing in the package: ${file}`);
const others = files.filter((file) => !wanted.includes(file) && !/^dist\/[a-z]+\.(js|d\.ts)$/.test(file));
assert.deepEqual(others, [], 'unexpected files in the package');

for (const name of wanted.filter((file) => file.startsWith('LICENSE'))) {
  const [own, original] = [`../${name}`, `../../../../${name}`].map((path) =>
    readFileSync(new URL(path, import.meta.url)),
  );
  assert(own?.equals(original ?? new Uint8Array()), `${name} is not that of the repository`);
}

const { messages, pkg } = await publint({ pkgDir: root, strict: true });
assert.deepEqual(
  messages.map((message) => formatMessage(message, pkg)),
  [],
);

// Imported by name, as an installed package.
const whole = await import('@living-map/react');
const core = await import('@living-map/react/client');
assert.equal(whole.LivingMapClient, core.LivingMapClient);
assert(!Object.keys(core).some((name) => name.startsWith('use')), 'the client has hooks');
console.log(`${files.length} files, ${packed.size} bytes packed`);
