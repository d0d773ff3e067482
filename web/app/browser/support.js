/** Test fixtures: the server binary with a simulated network, and Debian's Chromium. */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const app = join(repository, 'web/app');

/** Path of the debug binary; builds it and the page if they are missing. */
export function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? join(repository, 'target');
  const path = process.env.LIVING_MAP_BIN ?? join(target, 'debug/living-map');
  if (!existsSync(path)) execFileSync('cargo', ['build', '--locked'], { cwd: repository, stdio: 'inherit' });
  // Debug builds read the page from this folder.
  if (!existsSync(join(app, 'dist/index.html'))) {
    execFileSync('npm', ['run', 'build'], { cwd: app, stdio: 'inherit' });
  }
  return path;
}

/**
 * @typedef {object} Server
 * @property {string} url
 * @property {number} port
 * @property {() => Promise<void>} kill sends SIGKILL
 * @property {() => Promise<void>} restart after `kill`, on the same port and database
 * @property {() => void} hold suspends the process (SIGSTOP); connections stay open
 * @property {() => void} resume resumes the process (SIGCONT)
 * @property {() => void} forget after `kill`: deletes the database
 * @property {() => Promise<void>} close
 */

/**
 * Starts a server with a simulated network; resolves when it is ready.
 * @param {string[]} options command-line options of `living-map demo`
 * @param {Record<string, string>} settings environment variables
 * @param {string | null} token viewer token, if the settings require one
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
    let output = '';
    const started = new Promise((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (data) => {
          output += data;
          const found = /open http:\/\/[^:]+:(\d+)/.exec(output);
          if (!found) return;
          port = Number(found[1]);
          resolve(null);
        });
      }
      child.once('exit', () => reject(new Error(`the server ended:\n${output}`)));
    });
    await started;
    // The first polls have finished when none of the six upstreams is `unknown`.
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
 * Creates a token and its entry for the server's token list.
 * @param {string} role role, also used as the name
 */
export function tokenOf(role) {
  const { stdout, stderr } = spawnSync(binary(), ['token', '--name', role, '--role', role], { encoding: 'utf8' });
  const [token] = /lm_\S+/.exec(stdout + stderr) ?? [];
  const [line] = new RegExp(`${role}:${role}:\\w+`).exec(stdout + stderr) ?? [];
  if (!token || !line) throw new Error(stdout + stderr);
  return { token, line };
}

/** Starts Debian's Chromium with software rendering: WebGL by SwiftShader, everything else on the CPU. */
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

/**
 * Starts nginx as a reverse proxy; resolves when it accepts connections.
 * @param {string} directives directives of its server
 * @returns {Promise<{ url: string, close: () => void }>}
 */
export async function startProxy(directives) {
  const folder = mkdtempSync(join(tmpdir(), 'living-map-proxy-'));
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  const config = `daemon off; master_process off; pid ${folder}/pid; error_log stderr; events {}
    http {
      access_log off; ${temporary.join(' ')}
      map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
      server { listen 127.0.0.1:${port}; proxy_http_version 1.1; proxy_buffering off; ${directives} }
    }`;
  writeFileSync(join(folder, 'nginx.conf'), config);
  const child = spawn(
    process.env.NGINX_BIN ?? 'nginx',
    ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'],
    {
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let output = '';
  child.stderr.on('data', (data) => {
    output += data;
  });
  const ended = new Promise((_, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`nginx ended:\n${output}`)));
  });
  const url = `http://127.0.0.1:${port}`;
  const accepting = async () => {
    while (!(await fetch(url).catch(() => null))) await new Promise((resolve) => setTimeout(resolve, 50));
  };
  await Promise.race([accepting(), ended]);
  ended.catch(() => {});
  return {
    url,
    close: () => {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** @returns {Promise<number>} a free port of the loopback interface */
function freePort() {
  return new Promise((resolve, reject) => {
    const listener = createServer();
    listener.once('error', reject);
    listener.listen(0, '127.0.0.1', () => {
      const { port } = /** @type {import('node:net').AddressInfo} */ (listener.address());
      listener.close(() => resolve(port));
    });
  });
}
