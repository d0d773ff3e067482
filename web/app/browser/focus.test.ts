/** The keyboard's focus: one tab stop for the map, and Escape returns it to where it was. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Server, startBrowser, startServer } from './support.js';
import { query, still, visit } from './visit.js';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const on = (path: string, check: (page: Page) => Promise<unknown>) => visit({ browser, url: server.url + path }, check);

/** Waits until the focused element matches `selector`. */
const expectFocus = (page: Page, selector: string) =>
  expect
    .poll(() =>
      page.evaluate((wanted) => document.activeElement?.matches(wanted) || document.activeElement?.outerHTML, selector),
    )
    .toBe(true);

/** A link that stays on the page, as the place where the focus was. */
const RAIL_LINK = '.rail a[href*="layer=nodes"]';

test('the map is one tab stop, and the keyboard moves in it', () =>
  on('?panel=none', async (page) => {
    await still(page);
    await page.locator('.canvas canvas#deckgl-overlay').waitFor({ state: 'attached' });
    const stops = () =>
      page.evaluate(() =>
        [...document.querySelectorAll<HTMLElement>('.canvas, .canvas *')]
          .filter(({ tabIndex }) => tabIndex >= 0)
          .map((element) => element.role ?? element.tagName),
      );
    await expect.poll(stops).toEqual(['application']);
    await page.locator('.canvas').focus();
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.closest('.canvas'))).toBeNull();
    await page.keyboard.press('Shift+Tab');
    await expectFocus(page, '.canvas');
    await page.keyboard.press('ArrowRight');
    await expect.poll(() => query(page).get('entity')).not.toBeNull();
    await page.keyboard.press('Enter');
    await expectFocus(page, '#entity-title');
    await page.keyboard.press('Escape');
    await expect.poll(() => query(page).get('entity')).toBeNull();
    await expectFocus(page, '.canvas');
    await page.locator('.canvas').click({ position: { x: 700, y: 350 } });
    await expectFocus(page, '.canvas');
  }));

test('Escape in a dialog returns the focus', () =>
  on('', async (page) => {
    await page.getByText('Live', { exact: true }).waitFor();
    for (const [key, dialog] of [
      ['?', 'Keyboard'],
      ['Control+k', 'Search and commands'],
      ['/', 'Search and commands'],
    ] as const) {
      await page.locator(RAIL_LINK).focus();
      await page.keyboard.press(key);
      await page.getByRole('dialog', { name: dialog }).waitFor();
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      await expectFocus(page, RAIL_LINK);
    }
    await page.locator('.command-button').press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await expectFocus(page, '.command-button');
  }));

test('Escape in a menu returns the focus, also from the help that it opens', () =>
  on('?view=table', async (page) => {
    const settings = page.getByRole('button', { name: 'Settings' });
    await settings.press('Enter');
    await page.getByLabel('Language').waitFor();
    await page.keyboard.press('Escape');
    await expectFocus(page, '.rail-button');
    await settings.press('Enter');
    await page.getByRole('button', { name: /^Keyboard/ }).press('Enter');
    await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await expectFocus(page, '.rail-button');
    await page.getByRole('button', { name: 'Columns' }).press('Enter');
    await page.locator('.popup.columns').waitFor();
    await page.keyboard.press('Escape');
    await expectFocus(page, '.table-tools button');
    // Without AUTH nobody has a name.
    expect(await page.locator('.person').count()).toBe(0);
  }));

test('Escape in a panel closes it and returns the focus', () =>
  on('', async (page) => {
    const alerts = '.rail a[data-panel=alerts]';
    for (const close of ['Escape', 'button'] as const) {
      await page.locator(alerts).press('Enter');
      await page.locator('#panel').focus();
      if (close === 'Escape') await page.keyboard.press('Escape');
      else await page.locator('.sheet').getByRole('button', { name: 'Close' }).press('Enter');
      await expect.poll(() => query(page).get('panel')).toBe('none');
      await expectFocus(page, alerts);
    }
  }));

test('Escape in an entity opened from a link returns there', () =>
  on('?view=table', async (page) => {
    const link = page.locator('table tbody a').first();
    await link.waitFor();
    const name = (await link.textContent()) ?? '';
    await link.press('Enter');
    await page.locator('#entity-title').focus();
    await page.keyboard.press('Escape');
    await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toBe(name);
    // The focus elsewhere stays where it is.
    await link.press('Enter');
    await page.locator('#entity-title').waitFor();
    await page.locator(RAIL_LINK).focus();
    await page.keyboard.press('Escape');
    await expect.poll(() => query(page).get('entity')).toBeNull();
    await expectFocus(page, RAIL_LINK);
  }));
