/** Token expiry while the page is open. */

import { createHmac } from 'node:crypto';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Server, startBrowser, startServer, tokenOf } from './support.js';
import { accessibility, query, signIn, visit } from './visit.js';

const SECRET = 'a secret of the tests alone, long enough';
const VIEW = '?layer=agents&entity=agent:sofia&panel=health&view=table';

let browser: Browser;

beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser?.close());

/** Creates a JSON Web Token that is valid for `seconds`. */
function signed(role: string, seconds: number) {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: role, role, exp })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

/** Checks that the view is displayed and live. */
async function expectLive(page: Page) {
  await page.getByText('Live', { exact: true }).waitFor();
  await expect.poll(() => page.locator('#entity-title').textContent()).toMatch(/Sofia/);
  await page.getByRole('heading', { name: 'Is anything broken?' }).waitFor();
  await page.getByRole('table').waitFor();
}

/** Checks that the login form is shown, the view is still in the URL, and none of its data is on the page. */
async function expectLogin(page: Page, reason: RegExp) {
  await page.getByText(reason).waitFor();
  const asked = query(page);
  expect(['layer', 'entity', 'panel', 'view'].map((name) => asked.get(name))).toEqual([
    'agents',
    'agent:sofia',
    'health',
    'table',
  ]);
  expect(await page.getByText('Sofia').count()).toBe(0);
}

/** Runs `check` with the page of a server with `settings`, which also apply to its next start. */
async function withServer(
  settings: Record<string, string>,
  admin: string,
  check: (page: Page, server: Server) => Promise<void>,
) {
  const server = await startServer([], settings, admin);
  try {
    const prepare = (page: Page) =>
      page.addInitScript(() => {
        const codes: number[] = [];
        const Socket = WebSocket;
        globalThis.WebSocket = class extends Socket {
          constructor(url: string | URL) {
            super(url);
            this.addEventListener('close', ({ code }) => codes.push(code));
          }
        };
        Object.assign(globalThis, { closeCodes: codes });
      });
    const url = server.url + VIEW;
    await visit({ browser, url, isDisturbed: true, prepare }, (page) => check(page, server));
  } finally {
    await server.close();
  }
}

const closeCodes = (page: Page) => page.evaluate(() => (globalThis as unknown as { closeCodes: number[] }).closeCodes);

test('an expired token closes the stream (4401); login resumes', () =>
  withServer({ AUTH: 'jwt', JWT_SECRET: SECRET, JWT_LEEWAY_SECONDS: '0' }, signed('admin', 3600), async (page) => {
    await signIn(page, signed('king', 3600));
    await page.getByText(/does not accept the token: the token has no role of this server/).waitFor();
    await signIn(page, signed('viewer', 20));
    await expectLive(page);
    await page.getByText(/Your token expires at .*Sign in with a new one/).waitFor();
    // Hold back other requests: if one is rejected before the stream is closed, the page closes the stream itself.
    let release = () => {};
    const isOver = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route(/\/living-map\/(?!stream)/, async (route) => {
      await isOver;
      await route.continue();
    });
    await expect.poll(() => closeCodes(page)).toContain(4401);
    release();
    await expectLogin(page, /Your token expired at .*\d\d:\d\d/);
    await signIn(page, signed('viewer', 3600));
    await expectLive(page);
  }));

test('a token rejected after a restart leads to login and resumes', () => {
  const [first, second, admin] = ['viewer', 'operator', 'admin'].map(tokenOf);
  if (!first || !second || !admin) throw new Error('no tokens');
  const settings = { AUTH: 'token', AUTH_TOKENS: [first, admin].map(({ line }) => line).join() };
  return withServer(settings, admin.token, async (page, server) => {
    await signIn(page, first.token);
    await expectLive(page);
    const other = await page.context().newPage();
    await other.goto(page.url());
    await expectLive(other);
    await server.kill();
    settings.AUTH_TOKENS = [second, admin].map(({ line }) => line).join();
    await server.restart();
    await expectLogin(page, /no longer accepts your token/);
    await other.getByLabel('Token', { exact: true }).waitFor();
    await signIn(page, second.token);
    await expectLive(page);
    // A tab whose token was rejected takes the new one.
    await expectLive(other);
  });
});

test('a role that changes is said, and what it permits follows', () => {
  const [person, admin] = ['viewer', 'admin'].map(tokenOf);
  if (!person || !admin) throw new Error('no tokens');
  const lines = (role: string) => [person.line.replace(':viewer:', `:${role}:`), admin.line].join();
  const settings = { AUTH: 'token', AUTH_TOKENS: lines('operator') };
  return withServer(settings, admin.token, async (page, server) => {
    const become = async (role: string) => {
      await server.kill();
      settings.AUTH_TOKENS = lines(role);
      await server.restart();
    };
    await signIn(page, person.token);
    await expectLive(page);
    await page.getByRole('button', { name: 'viewer operator' }).waitFor();
    await become('viewer');
    await page.getByText('Your role is now viewer; it was operator.').waitFor();
    await page.getByRole('button', { name: 'viewer viewer' }).waitFor();
    expect(await accessibility(page)).toEqual([]);
    await become('operator');
    await page.getByText('Your role is now viewer; it was operator.').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'viewer operator' }).waitFor();
  });
});
