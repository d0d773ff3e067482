// @ts-check
/** Checks what `npm pack` would publish: the files, the `exports`, and that Node takes them. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
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
for (const file of wanted) assert(files.includes(file), `${file} is not packed`);
const others = files.filter((file) => !wanted.includes(file) && !/^dist\/[a-z]+\.(js|d\.ts)$/.test(file));
assert.deepEqual(others, [], 'packed, but not to be');

const { messages, pkg } = await publint({ pkgDir: root, strict: true });
assert.deepEqual(
  messages.map((message) => formatMessage(message, pkg)),
  [],
);

// By its name, as those do who installed it.
const whole = await import('@living-map/react');
const core = await import('@living-map/react/client');
assert.equal(whole.LivingMapClient, core.LivingMapClient);
assert(!Object.keys(core).some((name) => name.startsWith('use')), 'the client has hooks');
console.log(`${files.length} files, ${packed.size} bytes packed`);
