/** What people do with the page, by keyboard alone, each step without violations of WCAG 2.1 AA. */

import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NOW, startFrozen } from '../pictures/frozen.js';
import { type Server, startBrowser } from './support.js';
import { accessibility, query, rowCount, still, visit } from './visit.js';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([startFrozen('failing'), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const on = (path: string, check: (page: Page) => Promise<unknown>) => {
  const prepare = async (page: Page) => {
    await page.clock.setFixedTime(NOW);
    await page.addInitScript(() => localStorage.setItem('living-map', JSON.stringify({ isIntroduced: true })));
  };
  return visit({ browser, url: server.url + path, prepare }, async (page) => {
    await page.getByText('Live', { exact: true }).waitFor();
    await check(page);
  });
};

/** Maximum number of tab stops before the wanted one. */
const MAX_STOPS = 120;

/** Presses Tab until the element has the focus. */
async function tabTo(page: Page, wanted: Locator) {
  await wanted.first().waitFor();
  for (let stop = 0; stop < MAX_STOPS; stop++) {
    if (await wanted.first().evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`${wanted} is not among the first ${MAX_STOPS} tab stops`);
}

const heading = (page: Page) => page.locator('#entity-title');
const isAccessible = async (page: Page) => expect(await accessibility(page)).toEqual([]);

test('find: an agent by its transliterated name', () =>
  on('', async (page) => {
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox', { name: 'Search' }).waitFor();
    await page.keyboard.type('mavka');
    await page.getByRole('option', { name: /Мавка/ }).first().waitFor();
    await isAccessible(page);
    await page.keyboard.press('Enter');
    await expect.poll(() => heading(page).textContent()).toBe('Мавка');
    await isAccessible(page);
  }));

test('understand: from the sentence in the header to the alert and its events', () =>
  on('', async (page) => {
    const sentence = page.locator('.sentence');
    await sentence
      .getByText(/failing/)
      .first()
      .waitFor();
    await tabTo(page, sentence.getByRole('button'));
    await page.keyboard.press('Enter');
    await expect.poll(() => heading(page).textContent()).toMatch(/Harbour Light/);
    const panel = page.locator('.sheet.entity');
    await panel.getByText(/hot/).first().waitFor();
    await panel.locator('.events li').first().waitFor();
    await isAccessible(page);
    await page.keyboard.press('Escape');
    await heading(page).waitFor({ state: 'detached' });
  }));

test('go back in time, and return to live', () =>
  on('?layer=agents', async (page) => {
    await still(page);
    await tabTo(page, page.getByRole('slider', { name: 'Moment' }));
    for (let step = 0; step < 3; step++) await page.keyboard.press('PageDown');
    await expect.poll(() => query(page).get('at')).not.toBeNull();
    await page
      .getByText(/Viewing/)
      .first()
      .waitFor();
    await still(page);
    // The alerts of the last minute are not raised yet.
    await expect
      .poll(() =>
        page
          .getByRole('link', { name: /Alerts/ })
          .locator('.count')
          .textContent(),
      )
      .toBe('1');
    await isAccessible(page);
    await page.keyboard.press('l');
    await expect.poll(() => query(page).get('at')).toBeNull();
    await page.getByText('Live', { exact: true }).waitFor();
  }));

test('share: the address of a view opens the same view', async () => {
  let address = '';
  let rows = 0;
  await on('', async (page) => {
    await page.keyboard.press('4');
    await page.keyboard.press('t');
    await expect.poll(() => rowCount(page)).toBeGreaterThan(50);
    const chip = page.getByRole('region', { name: 'Legend' }).getByRole('button', { name: 'warning' });
    await tabTo(page, chip);
    await page.keyboard.press('Space');
    await expect.poll(() => chip.getAttribute('aria-pressed')).toBe('true');
    await expect.poll(() => rowCount(page)).toBeLessThan(20);
    rows = await rowCount(page);
    await tabTo(page, page.getByRole('columnheader').first().getByRole('button'));
    await page.keyboard.press('Enter');
    await expect.poll(() => query(page).get('sort')).toBe('name');
    await isAccessible(page);
    address = new URL(page.url()).search;
  });
  expect(rows).toBeGreaterThan(1);
  await on(address, async (page) => {
    await expect.poll(() => rowCount(page)).toBe(rows);
    expect(await page.getByRole('columnheader').first().getAttribute('aria-sort')).toBe('ascending');
    expect(new URL(page.url()).search).toBe(address);
  });
});

test('acknowledge an alert', () =>
  on('', async (page) => {
    await tabTo(page, page.getByRole('link', { name: /Alerts/ }));
    await page.keyboard.press('Enter');
    const alerts = page.locator('#panel');
    await tabTo(page, alerts.getByRole('button', { name: 'Acknowledge' }));
    await page.keyboard.press('Enter');
    await alerts
      .getByText(/Acknowledged by/)
      .first()
      .waitFor();
    await isAccessible(page);
  }));
