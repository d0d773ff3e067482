/** What the browser's tests and measurements start: our own binary with a simulated network, and Debian's Chromium. */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const app = join(repository, 'web/app');

/** The binary that `make test` builds; built here where it is missing. */
export function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? join(repository, 'target');
  const path = process.env.LIVING_MAP_BIN ?? join(target, 'debug/living-map');
  if (!existsSync(path)) execFileSync('cargo', ['build', '--locked'], { cwd: repository, stdio: 'inherit' });
  // A debug build reads the page from there.
  if (!existsSync(join(app, 'dist/index.html'))) {
    execFileSync('npm', ['run', 'build'], { cwd: app, stdio: 'inherit' });
  }
  return path;
}

/**
 * @typedef {object} Server
 * @property {string} url
 * @property {number} port
 * @property {() => Promise<void>} kill as a crash would
 * @property {() => Promise<void>} restart after `kill`: on the same port and the same database
 * @property {() => void} hold nothing comes of it until `resume`, and its connections stay
 * @property {() => void} resume
 * @property {() => void} forget after `kill`: the next start finds no database
 * @property {() => Promise<void>} close
 */

/**
 * A server with a simulated network. It is ready when this resolves.
 * @param {string[]} options of `living-map demo`
 * @param {Record<string, string>} settings environment
 * @param {string | null} token of a viewer, where the settings ask for one
 * @returns {Promise<Server>}
 */
export async function startServer(options = [], settings = {}, token = null) {
  const path = binary();
  const folder = mkdtempSync(join(tmpdir(), 'living-map-page-'));
  let port = 0;
  /** @type {import('node:child_process').ChildProcess} */
  let child;

  const start = async () => {
    const keep = ['--keep', join(folder, 'map.db')];
    child = spawn(path, ['demo', '--port', String(port), ...keep, ...options], {
      cwd: folder,
      env: { ...process.env, ...settings },
    });
    let said = '';
    const started = new Promise((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (data) => {
          said += data;
          const found = /open http:\/\/[^:]+:(\d+)/.exec(said);
          if (!found) return;
          port = Number(found[1]);
          resolve(null);
        });
      }
      child.once('exit', () => reject(new Error(`the server ended:\n${said}`)));
    });
    await started;
    // The first polls are over when the map knows all six services.
    for (;;) {
      const answer = await fetch(`http://127.0.0.1:${port}/living-map/ready`, {
        headers: token === null ? {} : { authorization: `Bearer ${token}` },
      });
      const ready = await answer.json();
      const known = ready.checks?.sources?.filter(
        (/** @type {{status: string}} */ source) => source.status !== 'unknown',
      );
      if (answer.ok && known?.length === 6) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  };

  await start();
  return {
    url: `http://127.0.0.1:${port}/`,
    port,
    kill,
    restart: start,
    hold: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    forget: () => {
      for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
    },
    close: async () => {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * A token, and its line for the server.
 * @param {string} role whose name it has too
 */
export function tokenOf(role) {
  const { stdout, stderr } = spawnSync(binary(), ['token', '--name', role, '--role', role], { encoding: 'utf8' });
  const [token] = /lm_\S+/.exec(stdout + stderr) ?? [];
  const [line] = new RegExp(`${role}:${role}:\\w+`).exec(stdout + stderr) ?? [];
  if (!token || !line) throw new Error(stdout + stderr);
  return { token, line };
}

/** Debian's Chromium, as it is on a machine without a GPU: WebGL by SwiftShader, all else by the processor alone. */
export async function startBrowser() {
  const executablePath = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';
  if (!existsSync(executablePath))
    throw new Error(`no Chromium at ${executablePath}: scripts/setup-tests.sh installs it`);
  return chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--enable-unsafe-swiftshader',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
