/** Real server for tests: this repository's binary with a simulated network, a temporary database and a free port. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const built = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../../../target', import.meta.url));
const binary = process.env.LIVING_MAP_BIN ?? join(built, 'debug', 'living-map');

/** Line of a new viewer token for the server's list. */
export const tokenLine = (): string =>
  execFileSync(binary, ['token', '--name', 'viewer', '--role', 'viewer'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim();

export class RealServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'living-map-'));
  #process: ChildProcess | null = null;
  #port = 0;

  /** @param settings environment variables */
  constructor(readonly settings: Record<string, string> = {}) {}

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts the server, or restarts it on the same port and database; resolves when it is ready. */
  async start(): Promise<void> {
    if (!existsSync(binary)) {
      throw new Error(
        `${binary} is missing: \`cargo build\` makes it (or set LIVING_MAP_BIN); \`make test-web\` does both`,
      );
    }
    const sizes = ['--agents=12', '--nodes=4', '--microdaos=3', '--events-per-second=40'];
    const options = [`--port=${this.#port}`, `--keep=${join(this.#folder, 'map.db')}`, '--log-format=json', ...sizes];
    const child = spawn(binary, ['demo', ...options], {
      cwd: this.#folder,
      env: { ...process.env, ...this.settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    let output = '';
    await new Promise<void>((resolve, reject) => {
      const listen = (piece: Buffer) => {
        output += piece;
        const port = /http:\/\/(?:127\.0\.0\.1|localhost):(\d+)/.exec(output)?.[1];
        if (port) this.#port = Number(port);
        if (port) resolve();
      };
      child.stdout?.on('data', listen);
      child.stderr?.on('data', listen);
      child.on('exit', (code) => reject(new Error(`the server ended (${code}): ${output}`)));
    });
    // Unauthorized if it requires tokens.
    const isReady = async () => [200, 401].includes((await fetch(`${this.url}/living-map/snapshot`)).status);
    while (!(await isReady().catch(() => false))) await pause();
  }

  /** Stops the server: `SIGTERM` shuts it down gracefully. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  async remove(): Promise<void> {
    await this.end('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export const pause = () => new Promise((resolve) => setTimeout(resolve, 20));

/** Polls until `condition` holds; limited by the test's timeout. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause();
}
