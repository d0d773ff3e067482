// @ts-check
/** Compiles src/ to dist/ one module at a time, so that bundlers can tree-shake. Needs nothing outside this folder. */

import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
rmSync(new URL('../dist', import.meta.url), { recursive: true, force: true });
execFileSync('npm', ['exec', '--', 'tsc', '--project', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
