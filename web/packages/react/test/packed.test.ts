/**
 * The package as others use it: packed outside of this workspace, installed in a new Vite application, and run in Chromium
 * with real servers of another origin. Installs from the npm registry: about 40 s on two cores.
 */

import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import { type PreviewServer, preview } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startBrowser } from '../../../app/browser/support.js';
import { RealServer, tokenLine } from './binary.js';

const source = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'living-map-packed-'));
const application = join(folder, 'application');

let page: PreviewServer;
let browser: Browser;
let origin: string;
/** Servers that the tests have started. */
const servers: RealServer[] = [];

/** Runs a program without the settings of the npm that runs these tests. */
async function run(cwd: string, program: string, ...options: string[]): Promise<string> {
  const own = Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD|NODE_ENV)/.test(name));
  const { stdout } = await promisify(execFile)(program, options, { cwd, env: Object.fromEntries(own) });
  return stdout;
}

const install = (cwd: string) => run(cwd, 'npm', 'install', '--no-audit', '--no-fund', '--prefer-offline');

/** Packs a copy of the package, and returns the tarball's path. */
async function pack(): Promise<string> {
  const copy = join(folder, 'package');
  const isSource = (path: string) => !['node_modules', 'dist', 'build'].includes(basename(path));
  cpSync(source, copy, { recursive: true, filter: isSource });
  await install(copy);
  const [packed] = JSON.parse(await run(copy, 'npm', 'pack', '--json', '--silent'));
  return join(copy, packed.filename);
}

/** Writes an application that shows the first example of the README, with the server of its own address. */
function write(tarball: string) {
  const { devDependencies } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8'));
  const pick = (...names: string[]) => Object.fromEntries(names.map((name) => [name, devDependencies[name]]));
  const [, example = ''] = /```tsx\n(.*?)```/s.exec(readFileSync(join(source, 'README.md'), 'utf8')) ?? [];
  const app = example.replace("'http://localhost:7017'", "new URLSearchParams(location.search).get('server') ?? ''");
  expect(app).toContain('location.search');
  const files = {
    'package.json': JSON.stringify({
      private: true,
      type: 'module',
      dependencies: { '@living-map/react': `file:${tarball}`, ...pick('react', 'react-dom') },
      devDependencies: pick('vite', 'typescript', '@types/react', '@types/react-dom'),
    }),
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        strict: true,
        noEmit: true,
        jsx: 'react-jsx',
        target: 'es2022',
        module: 'esnext',
        moduleResolution: 'bundler',
        lib: ['es2023', 'dom'],
      },
      include: ['*.tsx'],
    }),
    'index.html':
      '<!doctype html><title>application</title><div id="root"></div><script type="module" src="main.tsx"></script>',
    'app.tsx': app,
    'main.tsx': `import { createRoot } from 'react-dom/client';
      import { App } from './app';
      createRoot(document.getElementById('root') as HTMLElement).render(<App />);`,
  };
  mkdirSync(application);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(application, name), text);
}

beforeAll(async () => {
  write(await pack());
  await install(application);
  await run(application, 'npx', 'tsc');
  await run(application, 'npx', 'vite', 'build');
  page = await preview({ root: application, configFile: false, preview: { host: '127.0.0.1', port: 0 } });
  origin = new URL(page.resolvedUrls?.local[0] ?? '').origin;
  browser = await startBrowser();
}, 600_000);
afterAll(async () => {
  await browser?.close();
  await page?.close();
  await Promise.all(servers.map((server) => server.remove()));
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

async function start(settings: Record<string, string>): Promise<string> {
  const server = new RealServer(settings);
  servers.push(server);
  await server.start();
  return server.url;
}

/** Waits for a text in the application with a server. */
async function shows(server: string, text: RegExp) {
  const tab = await browser.newPage();
  await tab.goto(`${origin}/?server=${encodeURIComponent(server)}`);
  await tab.getByText(text).waitFor({ timeout: 60_000 });
  await tab.close();
}

test('a packed package shows the live map in a new application', { timeout: 120_000 }, async () => {
  const url = await start({ ALLOWED_ORIGINS: origin });
  await shows(url, /^\d+ agents are online$/);
  await shows(`${url}/elsewhere`, /^there is no Living Map at .*\/elsewhere: check the option `url` and its path$/);
});

test('without ALLOWED_ORIGINS the error says to set it', { timeout: 120_000 }, async () => {
  await shows(await start({}), new RegExp(`setting ALLOWED_ORIGINS lists ${origin}$`));
});

test('without a token the error says to set one', { timeout: 120_000 }, async () => {
  const settings = { AUTH: 'token', AUTH_TOKENS: tokenLine(), ALLOWED_ORIGINS: origin };
  await shows(await start(settings), /Authorization: Bearer.*`authenticate` sets a token$/);
});
