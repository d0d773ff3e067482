/** Playback of recorded events on a server with a simulated network. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Server, startBrowser, startServer } from './support.js';
import { accessibility, query, still, visit } from './visit.js';

let server: Server;
let browser: Browser;

/** A node whose load changes, with an alert on it. */
const NODE = 'node:replayed';
const LOADS = [0.2, 0.3, 0.85, 0.9, 0.4];

beforeAll(async () => {
  [server, browser] = await Promise.all([startServer(['--events-per-second', '30']), startBrowser()]);
  await publish('node.metrics.replayed', { node_id: NODE, cpu: LOADS[0] });
  while ((await total()) < 300) await new Promise((resolve) => setTimeout(resolve, 100));
  for (const cpu of LOADS) await publish('node.metrics.replayed', { node_id: NODE, cpu });
  await publish('ops.alert.critical', { alert_id: 'replayed', title: 'The replayed node is hot', node_id: NODE });
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

async function publish(event_type: string, payload: object) {
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ event_type, payload });
  const answer = await fetch(`${server.url}living-map/events`, { method: 'POST', headers, body });
  expect(answer.status).toBe(200);
}

const json = async (path: string) => (await fetch(server.url + path)).json();
const total = async () => (await json('living-map/history?limit=1')).total as number;
const at = (page: Page) => query(page).get('at');
const time = (page: Page) => Date.parse(at(page) ?? '');
/** A past moment with a map and events after it. */
async function past(): Promise<string> {
  const { items } = await json('living-map/history?limit=100');
  return new Date(Date.parse(items.at(-1).timestamp)).toISOString();
}

// The page learns where the log begins from an answer 410, which the browser logs.
const on = (path: string, check: (page: Page) => Promise<unknown>) =>
  visit({ browser, url: server.url + path, isDisturbed: true }, check);

const press = (page: Page, name: string) => page.locator('.time').getByRole('button', { name, exact: true }).click();

test('single events are shown forwards and backwards, as the log has them', async () => {
  const moment = await past();
  const { meta } = await json(`living-map/snapshot?at=${moment}`);
  const { items } = await json(`living-map/frames?cursor=${meta.cursor}&limit=3`);
  const times = items.map(({ logged_at }: { logged_at: string }) => Math.ceil(new Date(logged_at).getTime()));
  await on(`?layer=agents&panel=events&at=${moment}`, async (page) => {
    await still(page);
    for (const wanted of times) {
      await press(page, 'Next event (.)');
      // Times between two milliseconds are rounded up.
      await expect.poll(() => Math.abs(time(page) - wanted)).toBeLessThanOrEqual(1);
    }
    const newest = await page.locator('#panel .events time').first().getAttribute('datetime');
    expect(newest).toBe(items[2].frame.timestamp);
    await page.keyboard.press(',');
    await expect.poll(() => Math.abs(time(page) - times[1])).toBeLessThanOrEqual(1);
    // Before the first one there are others, which are loaded.
    for (let step = 0; step < 4; step++) await page.keyboard.press(',');
    await expect.poll(() => time(page)).toBeLessThanOrEqual(Date.parse(moment));
  });
});

test('playback downloads events instead of maps, and runs backwards', async () => {
  const moment = await past();
  await on(`?layer=agents&at=${moment}`, async (page) => {
    await still(page);
    const asked: string[] = [];
    page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    await page.getByLabel('Speed').selectOption('1');
    await page.keyboard.press('p');
    await expect.poll(() => time(page)).toBeGreaterThan(Date.parse(moment) + 2000);
    expect(asked.filter((path) => path.endsWith('/snapshot'))).toEqual([]);
    expect(asked.some((path) => path.endsWith('/frames'))).toBe(true);
    await press(page, 'Play backwards');
    const turned = time(page);
    await expect.poll(() => time(page)).toBeLessThan(turned - 1000);
    await page.keyboard.press('p');
    const paused = time(page);
    await page.waitForFunction(() => document.querySelector('.time .play')?.getAttribute('aria-label') === 'Play');
    expect(Math.abs(time(page) - paused)).toBeLessThan(1500);
    expect(await accessibility(page)).toEqual([]);
  });
});

test('a repeated range begins again', async () => {
  const { items } = await json('living-map/alerts');
  const raised = items.find(({ id }: { id: string }) => id === 'replayed').raised_at;
  await on('?panel=alerts', async (page) => {
    const row = page.getByRole('listitem').filter({ hasText: 'The replayed node is hot' }).first();
    await row.getByRole('button', { name: 'Play the ten minutes around it' }).click();
    await page.locator('.scrubber .loop').waitFor();
    // The log is younger than five minutes.
    await page.getByText(/The log begins at/).waitFor();
    const begin = time(page);
    expect(begin).toBeLessThan(Date.parse(raised));
    await page.getByLabel('Speed').selectOption('60');
    const scrubber = page.getByRole('slider', { name: 'Moment' });
    let last = 0;
    let wraps = 0;
    await expect
      .poll(async () => {
        const now = Number(await scrubber.inputValue());
        if (now < last) wraps += 1;
        last = now;
        return wraps;
      })
      .toBeGreaterThan(0);
  });
});

// Hovering the same pixels names other agents after the moment is loaded, although screenshots of both show every mark at its place.
// Either the probe is wrong or what is hovered is: to be found out.
test.skip('entering the past keeps camera, selection and places, and nothing blinks', async () => {
  await on('?layer=agents', async (page) => {
    await still(page);
    const marks = await hoverable(page, 4);
    expect(marks.length).toBeGreaterThan(2);
    await page.mouse.move(2, 2);
    // A slow server, so that the picture is seen while it loads.
    await page.route('**/living-map/snapshot*', async (route) => {
      await new Promise((resolve) => setTimeout(resolve, 700));
      await route.continue();
    });
    await page.evaluate(() => {
      const seen = { empty: 0 };
      Object.assign(globalThis, { seen });
      new MutationObserver(() => {
        if (document.querySelector('.over-map')) seen.empty += 1;
      }).observe(document.body, { childList: true, subtree: true });
    });
    const scrubber = page.getByRole('slider', { name: 'Moment' });
    await scrubber.focus();
    for (let step = 0; step < 3; step++) await page.keyboard.press('ArrowLeft');
    await page.locator('.moment[aria-busy=true]').waitFor();
    for (const { x, y, label } of marks) expect(await labelAt(page, x, y)).toBe(label);
    await page.mouse.move(2, 2);
    await page.locator('.moment[aria-busy=false]').waitFor();
    await still(page);
    for (const { x, y, label } of marks) expect(await labelAt(page, x, y)).toBe(label);
    expect(await page.evaluate(() => (globalThis as unknown as { seen: { empty: number } }).seen.empty)).toBe(0);
  });
});

interface Place {
  x: number;
  y: number;
  label: string;
}

/** Label of the entity at a pixel. */
async function labelAt(page: Page, x: number, y: number): Promise<string | null> {
  await page.mouse.move(x, y);
  const tip = page.locator('.tip strong');
  return (await tip.count()) > 0 ? tip.textContent() : null;
}

/** Pixels of some entities, far enough from each other to be different ones. */
async function hoverable(page: Page, count: number): Promise<Place[]> {
  const found = new Map<string, Place>();
  for (let y = 200; y < 600 && found.size < count; y += 24) {
    for (let x = 200; x < 1000 && found.size < count; x += 24) {
      const label = await labelAt(page, x, y);
      if (label !== null && !found.has(label)) found.set(label, { x, y, label });
    }
  }
  return [...found.values()];
}

test('an alert shows its entity as it was and the values around it', async () => {
  await on('?panel=alerts', async (page) => {
    const row = page.getByRole('listitem').filter({ hasText: 'The replayed node is hot' }).first();
    await row.getByRole('button', { name: 'When it was raised' }).click();
    await row.locator('.alert-moment').waitFor();
    expect(await row.locator('.tile').filter({ hasText: 'CPU' }).textContent()).toContain('40%');
    const chart = row.getByRole('img', { name: /CPU: 20% to 90%/ });
    await chart.waitFor();
    expect((await chart.locator('path').last().getAttribute('d'))?.split('H').length).toBe(LOADS.length + 1);
    expect(await accessibility(page)).toEqual([]);
    // The link opens the moment with the entity.
    const link = row.getByRole('link', { name: 'Its moment' });
    expect(await link.getAttribute('href')).toMatch(/entity=node:replayed.*at=/);
    await link.click();
    await expect.poll(() => at(page)).not.toBeNull();
    expect(query(page).get('entity')).toBe(NODE);
  });
});

test('marks on the time line lead to their moment, by keyboard', async () => {
  await on('', async (page) => {
    const marks = page.getByRole('toolbar', { name: /Alerts, lessons and changes/ });
    await marks.waitFor();
    await marks
      .getByRole('button', { name: /^Alert: .*(is hot|is failing)/ })
      .first()
      .waitFor();
    // One tab stop for all marks.
    expect(await marks.locator('button[tabindex="0"]').count()).toBe(1);
    await marks.locator('button[tabindex="0"]').focus();
    const count = await marks.locator('button').count();
    for (let step = 0; step < count; step++) await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Enter');
    await expect.poll(() => at(page)).not.toBeNull();
  });
});

test('a failed download of events is said, and can be repeated', async () => {
  const moment = await past();
  await on(`?layer=agents&at=${moment}`, async (page) => {
    await still(page);
    await page.route('**/living-map/frames*', (route) => route.abort());
    // At this speed the present is not reached.
    await page.getByLabel('Speed').selectOption('1');
    await page.keyboard.press('p');
    await page.getByText(/The next events cannot be loaded/).waitFor();
    // The picture stays.
    expect(await page.locator('.over-map').count()).toBe(0);
    await page.unroute('**/living-map/frames*');
    await page.getByRole('button', { name: 'Try again' }).click();
    await expect.poll(() => time(page)).toBeGreaterThan(Date.parse(moment));
    await page.route('**/living-map/frames*', (route) =>
      route.fulfill({ status: 410, contentType: 'application/problem+json', body: '{"status":410,"detail":"gone"}' }),
    );
    await page.goto(`${server.url}?layer=agents&at=${moment}`);
    await still(page);
    await page.keyboard.press('p');
    await page.getByText(/The next events are not kept/).waitFor();
  });
});

test('a server in its first minutes plays from the begin of its log, and compares with it', async () => {
  const fresh = await startServer();
  try {
    await visit({ browser, url: fresh.url, isDisturbed: true }, async (page) => {
      await still(page);
      await press(page, 'Play');
      await page.getByText(/The log begins at/).waitFor();
      expect(await page.locator('.time [role=alert]').count()).toBe(0);
      const begin = time(page);
      // Its first map is empty.
      await page.locator('.over-map').waitFor({ state: 'detached' });
      await still(page);
      await expect.poll(() => at(page) === null || time(page) > begin).toBe(true);
    });
    await visit({ browser, url: `${fresh.url}?panel=changes`, isDisturbed: true }, async (page) => {
      await page.getByRole('button', { name: 'Compare' }).click();
      await page.getByText(/The log begins at/).waitFor();
      await page
        .getByRole('heading', { name: /Added \(\d+\)|Changed \(\d+\)/ })
        .first()
        .waitFor();
    });
  } finally {
    await fresh.close();
  }
});
