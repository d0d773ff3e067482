/** All components, in both themes and languages, by mouse and by keyboard. */

import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { build, type PreviewServer, preview } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Server, startBrowser, startServer } from './support.js';
import { accessibility, visit } from './visit.js';

const app = fileURLToPath(new URL('..', import.meta.url));
const configFile = `${app}/vite.gallery.config.ts`;

let server: Server;
let browser: Browser;
let gallery: PreviewServer;

beforeAll(async () => {
  [server, browser] = await Promise.all([
    startServer(),
    startBrowser(),
    build({ configFile, mode: 'production', logLevel: 'error' }),
  ]);
  const proxy = { '/living-map': { target: server.url, ws: true, changeOrigin: true, rewriteWsOrigin: true } };
  gallery = await preview({ configFile, logLevel: 'silent', preview: { host: '127.0.0.1', port: 0, proxy } });
});
afterAll(async () => {
  await gallery?.close();
  await browser?.close();
  await server?.close();
});

const on = (check: (page: Page) => Promise<unknown>, options = {}) =>
  visit({ browser, url: gallery.resolvedUrls?.local[0] ?? '', options }, async (page) => {
    await page.getByRole('table').waitFor();
    await page.locator('#entity-title').waitFor();
    await check(page);
  });
const component = (page: Page, name: string) => page.locator(`[data-component="${name}"]`);
const focused = (page: Page) => page.locator(':focus');

test('every component of src/ui is in the gallery', async () => {
  const files = readdirSync(`${app}/src/ui`).filter((name) => name.endsWith('.tsx'));
  await on(async (page) => {
    const shown = await page
      .locator('[data-component]')
      .evaluateAll((sections) => sections.map((section) => section.getAttribute('data-component')));
    expect(shown).toEqual(expect.arrayContaining(files.map((name) => name.replace('.tsx', ''))));
  });
});

describe.each([
  ['en-GB', 'light'],
  ['en-GB', 'dark'],
  ['uk-UA', 'light'],
  ['uk-UA', 'dark'],
] as const)('%s, %s', (locale, colorScheme) => {
  test('the components meet WCAG 2.1 AA, also with a dialog, menu or tooltip', async () => {
    await on(
      async (page) => {
        expect(await page.locator('html').getAttribute('lang')).toBe(locale.slice(0, 2));
        expect(await accessibility(page)).toEqual([]);
        for (const [name, role] of [
          ['dialog', 'dialog'],
          ['menu', 'dialog'],
        ] as const) {
          await component(page, name).getByRole('button').first().click();
          await page.getByRole(role).waitFor();
          expect(await accessibility(page)).toEqual([]);
          await page.keyboard.press('Escape');
          await page.getByRole(role).waitFor({ state: 'detached' });
        }
        await component(page, 'tooltip').getByRole('button').hover();
        await page.locator('.tooltip').waitFor();
        // A tooltip stands at the end of the document, outside of landmarks.
        expect((await accessibility(page)).filter((violation) => !violation.startsWith('region:'))).toEqual([]);
      },
      { locale, colorScheme },
    );
  });
});

describe('by keyboard alone', () => {
  test('every tab stop has a name and a visible focus', async () => {
    await on(async (page) => {
      const seen = new Set<string>();
      for (;;) {
        await page.keyboard.press('Tab');
        const stop = await page.evaluate(() => {
          const element = document.activeElement;
          if (!element || element === document.body) return null;
          const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
          const isVisible = (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none';
          const index = [...document.querySelectorAll('*')].indexOf(element);
          return { key: `${index}`, html: element.outerHTML.slice(0, 200), isVisible };
        });
        if (stop === null || seen.has(stop.key)) break;
        seen.add(stop.key);
        expect(stop, stop.html).toMatchObject({ isVisible: true });
        // Virtual rows of the table.
        if (seen.size > 120) break;
      }
      expect(seen.size).toBeGreaterThan(30);
    });
  });

  test('chips and segments are switched with Space and Enter', async () => {
    await on(async (page) => {
      const chip = component(page, 'chip').getByRole('button').first();
      await chip.focus();
      await page.keyboard.press('Space');
      expect(await chip.getAttribute('aria-pressed')).toBe('true');
      const table = component(page, 'segments').getByRole('button').last();
      await table.focus();
      await page.keyboard.press('Enter');
      expect(await table.getAttribute('aria-pressed')).toBe('true');
      expect(await component(page, 'segments').locator('[aria-pressed=true]').count()).toBe(1);
    });
  });

  test.each(['dialog', 'menu'])('Escape closes a %s and returns the focus', async (name) => {
    await on(async (page) => {
      const opener = component(page, name).getByRole('button').first();
      await opener.focus();
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').waitFor();
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      await expect.poll(() => opener.evaluate((own) => own === document.activeElement)).toBe(true);
    });
  });

  test('a dialog keeps the focus', async () => {
    await on(async (page) => {
      await component(page, 'dialog').getByRole('button').first().focus();
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').waitFor();
      for (let number = 0; number < 8; number++) {
        await page.keyboard.press('Tab');
        expect(await page.locator('.gallery :focus').count()).toBe(0);
      }
    });
  });

  test('a tooltip is shown on focus, and Escape hides it', async () => {
    await on(async (page) => {
      await component(page, 'tooltip').getByRole('button').focus();
      await page.keyboard.press('Shift+Tab');
      await page.keyboard.press('Tab');
      await page.locator('.tooltip').waitFor();
      await page.keyboard.press('Escape');
      await page.locator('.tooltip').waitFor({ state: 'detached' });
      expect(await focused(page).count()).toBe(1);
    });
  });

  test('the table is sorted, and its columns are chosen', async () => {
    await on(async (page) => {
      const table = component(page, 'table');
      const sort = table.getByRole('columnheader').first().getByRole('button');
      await sort.focus();
      await page.keyboard.press('Enter');
      await expect.poll(() => table.getByRole('columnheader').first().getAttribute('aria-sort')).toBe('ascending');
      const before = await table.getByRole('columnheader').count();
      await table.getByRole('button', { name: 'Columns' }).focus();
      await page.keyboard.press('Enter');
      const choice = page.getByRole('dialog').getByRole('checkbox').nth(2);
      await choice.focus();
      await page.keyboard.press('Space');
      await expect.poll(() => table.getByRole('columnheader').count()).toBe(before - 1);
    });
  });
});
