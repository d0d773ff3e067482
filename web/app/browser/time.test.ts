/** Time travel on a server with a simulated network. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Server, startBrowser, startServer } from './support.js';
import { query, rowCount, still, visit } from './visit.js';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([startServer(['--events-per-second', '30']), startBrowser()]);
  // Wait until there is some history.
  while ((await total()) < 200) await new Promise((resolve) => setTimeout(resolve, 100));
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const json = async (path: string) => (await fetch(server.url + path)).json();
const total = async () => (await json('living-map/history?limit=1')).total as number;
const at = (page: Page) => query(page).get('at');
/** A past moment with a map. */
const past = async () => {
  const { items } = await json('living-map/history?limit=150');
  return items.at(-1).timestamp as string;
};

const on = (path: string, check: (page: Page) => Promise<unknown>, isDisturbed = false) =>
  visit({ browser, url: server.url + path, isDisturbed }, check);

test('a link to a moment shows the map of that time', async () => {
  const moment = await past();
  const then = await json(`living-map/snapshot?at=${encodeURIComponent(moment)}`);
  const agent = then.layers.agents.items.find(
    ({ usage }: { usage: { messages_24h: number | null } }) => usage.messages_24h !== null,
  );
  await on(`?layer=agents&view=table&panel=events&entity=${agent.id}&at=${moment}`, async (page) => {
    await page.getByText(/Viewing/).waitFor();
    const calls = page.getByRole('region', { name: agent.name }).locator('dt:text-is("Messages, 24 h") + dd');
    await expect.poll(() => calls.textContent()).toBe(String(agent.usage.messages_24h));
    await expect.poll(() => rowCount(page)).toBe(then.layers.agents.items.length);
    await page.getByText('Events before this moment').waitFor();
    const newest = await page.locator('#panel time').first().getAttribute('datetime');
    expect(Date.parse(newest ?? '')).toBeLessThanOrEqual(Date.parse(moment));
  });
});

test('the scrubber goes back; changes and live are one click away', async () => {
  await on('?layer=nodes', async (page) => {
    await still(page);
    const scrubber = page.getByRole('slider', { name: 'Moment' });
    await scrubber.focus();
    for (let step = 0; step < 4; step++) await page.keyboard.press('ArrowLeft');
    await expect.poll(() => at(page)).not.toBeNull();
    await still(page);
    await page.getByRole('button', { name: 'Changes since this moment' }).click();
    await page.getByRole('heading', { name: /Changed \(\d+\)/ }).waitFor();
    await expect.poll(() => page.locator('.panel .fields ins').count()).toBeGreaterThan(0);
    await page.locator('.time').getByRole('button', { name: 'Back to live' }).click();
    await expect.poll(() => at(page)).toBeNull();
    await page.locator('.moment').getByText('now', { exact: true }).waitFor();
  });
});

test('playback advances at the selected speed until now', async () => {
  const moment = await past();
  await on(`?layer=agents&at=${moment}`, async (page) => {
    await still(page);
    await page.getByLabel('Speed').selectOption('1');
    await page.getByRole('button', { name: 'Play', exact: true }).click();
    await expect.poll(() => Date.parse(at(page) ?? '') > Date.parse(moment), { timeout: 20_000 }).toBe(true);
    await page.getByRole('button', { name: 'Pause' }).first().click();
    await page.getByLabel('Speed').selectOption('600');
    await page.keyboard.press('p');
    await expect.poll(() => at(page), { timeout: 20_000 }).toBeNull();
  });
});

test('a moment before the log begins shows its begin, and says so', async () => {
  await on(
    '?at=2020-01-01T00:00:00Z',
    async (page) => {
      await page.getByText(/The log begins at/).waitFor();
      await expect.poll(() => at(page)).not.toMatch(/^2020/);
      await still(page);
      await page.locator('.time').getByRole('button', { name: 'Back to live' }).click();
      await still(page);
    },
    true,
  );
});

test('the histogram of events is shown under the scrubber', async () => {
  await on('', async (page) => {
    const bars = page.locator('.scrubber .bars path');
    await expect.poll(async () => (await bars.getAttribute('d'))?.length ?? 0).toBeGreaterThan(0);
  });
});
