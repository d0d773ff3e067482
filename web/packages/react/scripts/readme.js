// @ts-check
/** Extracts the README's examples to build/, one file each, where `npm run check` compiles them. */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const folder = new URL('../build/', import.meta.url);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
const text = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const examples = [...text.matchAll(/^```(tsx?)\n(.*?)^```/gms)];
if (examples.length < 8) throw new Error('too few examples found in the README');
const hooks = [...text.matchAll(/^### `(use\w+)/gm)].map(([, name]) => name);
for (const [at, [, kind, code = '']] of examples.entries()) {
  const head = /^import /m.test(code)
    ? ''
    : `import { ${hooks.join(', ')} } from '@living-map/react';\nconst server = { url: '' };\ndeclare function Agent(props: { id: string }): React.ReactNode;\n`;
  const own = /function Agent\(/.test(code) ? head.replace(/^declare.*\n/m, '') : head;
  const source = (own + code).replace("'@living-map/react/client'", "'../src/core.js'");
  writeFileSync(
    new URL(`${at}.${kind}`, folder),
    `${source.replace("'@living-map/react'", "'../src/index.js'")}\nexport {};\n`,
  );
}
