/** The page during failures. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Server, startBrowser, startServer } from './support.js';
import { rowCount, still, visit, vividPixels } from './visit.js';

let browser: Browser;

beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser?.close());

async function withServer(
  use: (server: Server) => Promise<void>,
  options: string[] = [],
  settings: Record<string, string> = {},
) {
  const server = await startServer(options, settings);
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

const connection = (page: Page) => page.locator('[data-connection]').getAttribute('data-connection');
const newest = async (page: Page) =>
  Date.parse((await page.locator('.panel .events li time').first().getAttribute('datetime')) ?? '');

test('a killed server is reported; the map resumes after restart', () =>
  withServer((server) =>
    visit({ browser, url: `${server.url}?layer=agents&view=table`, isDisturbed: true }, async (page) => {
      await expect.poll(() => rowCount(page)).toBeGreaterThan(50);
      const last = await newest(page);
      await server.kill();
      await expect.poll(() => connection(page)).not.toBe('open');
      await page
        .locator('.sentence')
        .getByText(/Connection lost/)
        .waitFor();
      // Known data remains visible.
      expect(await rowCount(page)).toBeGreaterThan(50);
      await server.restart();
      await expect.poll(() => connection(page)).toBe('open');
      await expect.poll(() => newest(page)).toBeGreaterThan(last);
    }),
  ));

test('a part that could not be loaded blanked the page', () =>
  withServer((server) =>
    visit({ browser, url: server.url, isDisturbed: true, caused: /dynamically imported module/ }, async (page) => {
      const parts = /assets\/(changes|dead-letters|health|help|lessons|markers|table)-/;
      await page.route(parts, (route) => route.abort());
      await page.reload();
      await still(page);
      for (const panel of ['Lessons', 'Dead letters', 'Changes', 'Health']) {
        await page.getByRole('link', { name: panel }).click();
        await page.locator('#panel').getByText('could not be loaded').waitFor();
      }
      await page.keyboard.press('?');
      await page.getByText('could not be loaded').nth(1).waitFor();
      await page.unroute(parts);
      await page.locator('#panel').getByRole('button', { name: 'Try again' }).click();
      await page.locator('#panel').getByText('could not be loaded').waitFor({ state: 'detached' });
      await still(page);
    }),
  ));

test('after the server is killed nothing is shown as current', () =>
  withServer((server) =>
    visit({ browser, url: `${server.url}?panel=health`, isDisturbed: true }, async (page) => {
      await still(page);
      await expect.poll(async () => (await vividPixels(page)).green).toBeGreaterThan(500);
      await server.kill();
      await page
        .locator('.sentence')
        .getByText(/Connection lost. The map is as of \d\d:\d\d:\d\d/)
        .waitFor();
      for (const part of ['.live', '.legend', '.time .moment', '.sheet > header'])
        await page
          .locator(part)
          .getByText(/^as of \d\d:\d\d:\d\d$/)
          .waitFor();
      const texts = await page.locator('.top, .time').allInnerTexts();
      expect(texts.join(' ')).not.toMatch(/All quiet|^now|\bLive\b(?! Map)/m);
      // Every place that is green while the map is live.
      const green = () =>
        page.evaluate(() => {
          const isGreen = (colour: string) => {
            const [red = 0, green = 0, blue = 0] = (colour.match(/[\d.]+/g) ?? []).map(Number);
            return green > red + 60 && green > blue + 30;
          };
          return [...document.querySelectorAll('body *')]
            .filter((element) => {
              const { color, backgroundColor, fill } = getComputedStyle(element);
              return [color, backgroundColor, fill].some(isGreen);
            })
            .map((element) => element.outerHTML.slice(0, 80));
        });
      await expect.poll(green).toEqual([]);
      await expect.poll(async () => (await vividPixels(page)).green).toBe(0);
      await server.restart();
      await expect.poll(() => connection(page)).toBe('open');
      await page.locator('.time .moment').getByText('now').waitFor();
      expect(await page.getByText(/^as of/).count()).toBe(0);
    }),
  ));

test('a slow upstream is reported; the rest of the map is shown', () =>
  withServer(
    (server) =>
      visit({ browser, url: `${server.url}?layer=nodes&panel=health` }, async (page) => {
        await still(page);
        const sources = page.getByRole('list', { name: 'Upstreams' });
        await sources
          .locator('li')
          .filter({ hasText: /usage (stale|down)/ })
          .waitFor();
        await expect.poll(() => sources.locator('[data-status=ok]').count()).toBe(5);
        await page.getByText('Yes: usage').waitFor();
        await page.getByRole('link', { name: /Alerts/ }).click();
        await page.getByText(/source usage is (stale|down)/).waitFor();
      }),
    ['--fault', 'usage=slow'],
    { UPSTREAM_TIMEOUT_SECONDS: '1', SYNC_INTERVAL_SECONDS: '2' },
  ));

test('without WebSocket events arrive; 410 loads a snapshot', () =>
  withServer(async (server) => {
    const gone: string[] = [];
    const prepare = async (page: Page) => {
      await page.routeWebSocket(/living-map\/stream/, (socket) => socket.close({ code: 1001 }));
      page.on('response', (response) => {
        if (response.status() === 410) gone.push(response.url());
      });
    };
    await visit({ browser, url: `${server.url}?layer=agents&view=table`, isDisturbed: true, prepare }, async (page) => {
      await expect.poll(() => connection(page)).toBe('open');
      await expect.poll(() => rowCount(page)).toBeGreaterThan(50);
      await server.kill();
      // A new log, in which old cursors are invalid.
      server.forget();
      await server.restart();
      await expect.poll(() => gone.some((url) => url.includes('events/stream'))).toBe(true);
      await expect.poll(() => connection(page)).toBe('open');
      await expect.poll(() => rowCount(page)).toBeGreaterThan(50);
    });
  }));

test('if deck.gl fails to load, the table shows the map', () =>
  withServer((server) => {
    const prepare = (page: Page) => page.route(/assets\/(graphics|deck)-/, (route) => route.abort());
    return visit({ browser, url: server.url, prepare, isDisturbed: true }, async (page) => {
      await page.getByText(/does not support WebGL 2/).waitFor();
      await page.getByRole('button', { name: 'Table', exact: true }).click();
      await expect.poll(() => rowCount(page)).toBeGreaterThan(3);
    });
  }));

test('without WebGL the table shows the map', () =>
  withServer((server) => {
    const prepare = (page: Page) =>
      page.addInitScript(() => {
        HTMLCanvasElement.prototype.getContext = () => null;
      });
    return visit({ browser, url: server.url, prepare }, async (page) => {
      await page.getByText(/does not support WebGL 2/).waitFor();
      await page.getByRole('button', { name: 'Table', exact: true }).click();
      await expect.poll(() => rowCount(page)).toBeGreaterThan(3);
    });
  }));
