/** The frame: sizes of screens, panels, the phone, and what the address holds. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Server, startBrowser, startServer } from './support.js';
import { accessibility, query, still, visit, vividPixels } from './visit.js';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const introduced = (page: Page) =>
  page.addInitScript(() => {
    if (!localStorage.getItem('living-map')) localStorage.setItem('living-map', JSON.stringify({ isIntroduced: true }));
  });

const on = (path: string, check: (page: Page) => Promise<unknown>, options = {}) =>
  visit(
    { browser, url: server.url + path, options: { reducedMotion: 'reduce', ...options }, prepare: introduced },
    check,
  );

const boxOf = async (page: Page, selector: string) => {
  const box = await page.locator(selector).first().boundingBox();
  if (!box) throw new Error(`no ${selector}`);
  return box;
};

/** Texts of the frame that take more than one line. */
const wrapped = (page: Page) =>
  page.evaluate(() => {
    const found: string[] = [];
    const parts = '.top, .rail, .stage-tools, .legend, .time, .sheet > header';
    for (const part of document.querySelectorAll(parts)) {
      const texts = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
      for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        if (!text.textContent?.trim() || text.parentElement?.closest('.unseen, option, .skip')) continue;
        const range = document.createRange();
        range.selectNodeContents(text);
        const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
        if (lines.size > 1) found.push(`${part.className}: ${text.textContent}`);
      }
    }
    return found;
  });

describe('wide screens', () => {
  const sizes = [
    { width: 1280, height: 800 },
    { width: 1440, height: 900 },
    { width: 2560, height: 1440 },
  ];
  test.each(['en-GB', 'uk-UA'])('nothing wraps at 1280 px and above, in %s', async (locale) => {
    await on(
      '?entity=agent:sofia&panel=letters',
      async (page) => {
        await still(page);
        for (const size of sizes) {
          await page.setViewportSize(size);
          await expect.poll(() => wrapped(page), { message: `${size.width}` }).toEqual([]);
          const heights: Record<string, number> = {};
          for (const part of ['.top', '.stage-tools', '.legend', '.time'])
            heights[part] = (await boxOf(page, part)).height;
          expect(heights['.top']).toBe(56);
          expect(heights['.stage-tools']).toBeLessThan(44);
          expect(heights['.legend']).toBeLessThan(48);
          expect(heights['.time']).toBeLessThan(100);
        }
      },
      { locale },
    );
  });

  test('the city fills a picture of 2560 × 1440', async () => {
    await on(
      '',
      async (page) => {
        await still(page);
        const [canvas, dock, tools, legend] = await Promise.all(
          ['.canvas', '.dock', '.stage-tools', '.legend'].map((part) => boxOf(page, part)),
        );
        const free = {
          width: (dock?.x ?? 0) - (canvas?.x ?? 0),
          height: (legend?.y ?? 0) - (tools?.y ?? 0) - (tools?.height ?? 0),
        };
        await expect
          .poll(async () => {
            const { width, height } = await vividPixels(page);
            return Math.max(width / free.width, height / free.height);
          })
          .toBeGreaterThan(0.7);
      },
      { viewport: { width: 2560, height: 1440 } },
    );
  });
});

describe('panels', () => {
  const width = async (page: Page) => Math.round((await boxOf(page, '.dock')).width);

  test('are resized by keyboard and by pointer, and stay so', async () => {
    await on('?panel=events', async (page) => {
      await still(page);
      const edge = page.getByRole('separator', { name: 'Width of the panels' });
      await edge.focus();
      await page.keyboard.press('ArrowLeft');
      await expect.poll(() => width(page)).toBe(400);
      expect(await edge.getAttribute('aria-valuenow')).toBe('400');
      const { x, y, height } = await boxOf(page, '.panel-size');
      await page.mouse.move(x + 5, y + height / 2);
      await page.mouse.down();
      await page.mouse.move(x - 75, y + height / 2, { steps: 4 });
      await page.mouse.up();
      await expect.poll(() => width(page)).toBe(480);
      await page.reload();
      await expect.poll(() => width(page)).toBe(480);
      expect([...query(page).keys()]).toEqual(['panel']);
      await edge.dblclick();
      await expect.poll(() => width(page)).toBe(384);
      await page.keyboard.press('End');
      await page.keyboard.press('Home');
      await expect.poll(() => width(page)).toBe(300);
    });
  });

  test('dock beside the scene, and close', async () => {
    await on('?panel=events', async (page) => {
      await still(page);
      await page.getByRole('button', { name: 'Put beside the map' }).click();
      const edges = async () => {
        const [canvas, dock] = [await boxOf(page, '.canvas'), await boxOf(page, '.dock')];
        return Math.round(canvas.x + canvas.width) <= Math.round(dock.x) + 16 && dock.height > 700;
      };
      await expect.poll(edges).toBe(true);
      expect(await accessibility(page)).toEqual([]);
      await page.getByRole('button', { name: 'Float over the map' }).click();
      await expect.poll(edges).toBe(false);
      await page.locator('.dock').getByRole('button', { name: 'Close' }).click();
      await expect.poll(() => page.locator('.dock').count()).toBe(0);
    });
  });
});

const camera = (page: Page) => query(page).get('camera');
const zoom = (page: Page) => Number(camera(page)?.split(',')[2] ?? Number.NaN);

describe('the address', () => {
  test('holds the camera; Back restores views, not each movement', async () => {
    await on('?layer=agents', async (page) => {
      await still(page);
      expect(camera(page)).toBeNull();
      const entries = () => page.evaluate(() => history.length);
      const before = await entries();
      await page.getByRole('button', { name: 'Zoom in' }).click();
      await page.getByRole('button', { name: 'Zoom in' }).click();
      await expect.poll(() => zoom(page)).toBeGreaterThan(0);
      const seen = camera(page);
      expect(await entries()).toBe(before);
      // Without a pause: the entry that is left keeps the last movement.
      await page.getByRole('button', { name: 'Zoom in' }).click();
      await page.keyboard.press('3');
      await expect.poll(() => query(page).get('layer')).toBe('nodes');
      expect(camera(page)).toBeNull();
      await page.goBack();
      await expect.poll(() => query(page).get('layer')).toBe('agents');
      const restored = camera(page);
      expect(restored).not.toBeNull();
      expect(restored).not.toBe(seen);
      await still(page);
      expect(camera(page)).toBe(restored);
      await page.goForward();
      await expect.poll(() => query(page).get('layer')).toBe('nodes');
      await still(page);
      expect(camera(page)).toBeNull();
      await page.getByRole('button', { name: 'Show all' }).click();
      expect(camera(page)).toBeNull();
    });
  });

  test('a link shows the same part of the map on another screen', async () => {
    await on('?layer=nodes&camera=0,0,3.5', async (page) => {
      await still(page);
      expect(camera(page)).toBe('0,0,3.5');
      const middle = await page.evaluate(() => document.querySelector('.canvas')?.getBoundingClientRect().width);
      await page.setViewportSize({ width: 1600, height: 900 });
      await expect
        .poll(() => page.evaluate(() => document.querySelector('.canvas')?.getBoundingClientRect().width))
        .not.toBe(middle);
      await still(page);
      expect(camera(page)).toBe('0,0,3.5');
    });
  });

  test('holds the filter of events and the listed status', async () => {
    await on('?panel=events&events=node.metrics&changing=1', async (page) => {
      await expect.poll(() => page.getByLabel('Filter events').inputValue()).toBe('node.metrics');
      expect(await page.getByLabel('Only events that changed the map').isChecked()).toBe(true);
      await page.getByLabel('Filter events').fill('usage');
      await page.getByLabel('Only events that changed the map').uncheck();
      await expect.poll(() => [query(page).get('events'), query(page).get('changing')]).toEqual(['usage', null]);
      await page.goto(`${server.url}?panel=letters&list=discarded`);
      await expect.poll(() => page.getByLabel('Status of dead letters').inputValue()).toBe('discarded');
      await page.getByLabel('Status of dead letters').selectOption('retrying');
      await expect.poll(() => query(page).get('list')).toBe('retrying');
    });
  });
});

test('an entity chosen in the table is shown by the map', async () => {
  await on('?layer=nodes&view=table', async (page) => {
    await page.getByRole('rowheader', { name: 'Dnipro Core' }).getByRole('link').click();
    await page.getByRole('button', { name: 'Map', exact: true }).click();
    await expect.poll(() => zoom(page)).toBeGreaterThan(0);
    const there = camera(page);
    await still(page);
    expect(camera(page)).toBe(there);
  });
});

test('a list without rows says why', async () => {
  await on('?view=table&kind=nothing', async (page) => {
    await page.getByText('Nothing matches the filters.').waitFor();
    await page.locator('.table').getByRole('button', { name: 'Clear filters' }).click();
    await page.locator('tbody th').first().waitFor();
    await page.goto(`${server.url}?panel=events&events=no-such-subject`);
    await page.locator('.state-box').getByText('No recent event matches.').waitFor();
    await page.goto(`${server.url}?panel=changes`);
    await page
      .locator('.state-box')
      .getByText(/Choose two moments/)
      .waitFor();
  });
});

describe('filtering by a microDAO', () => {
  test.each(['city', 'agents', 'nodes'])('flies to it in the layer %s, and back', async (layer) => {
    await on(`?layer=${layer}&panel=none`, async (page) => {
      await still(page);
      expect(camera(page)).toBeNull();
      await page.getByLabel('MicroDAO').selectOption('microdao:2');
      await expect.poll(() => camera(page)).not.toBeNull();
      const there = camera(page);
      await page.reload();
      await still(page);
      expect(camera(page)).toBe(there);
      await page.goto(`${server.url}?layer=${layer}&panel=none&microdao=microdao:2`);
      // Agents grow with their calls meanwhile.
      const at = Number(there?.split(',')[2]);
      await expect.poll(() => Math.abs(zoom(page) - at)).toBeLessThan(0.7);
      await page.getByRole('button', { name: 'Clear filters' }).click();
      await expect.poll(() => camera(page)).toBeNull();
    });
  });
});

describe('a phone', () => {
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true };

  test('shows the scene first: at most 120 px stand before it, and no panel', async () => {
    await on(
      '',
      async (page) => {
        await still(page);
        const tools = await boxOf(page, '.stage-tools');
        expect(tools.y + tools.height).toBeLessThanOrEqual(120);
        expect(await page.locator('.sheet').count()).toBe(0);
        const { width } = await vividPixels(page);
        expect(width).toBeGreaterThan(200);
        expect(await accessibility(page)).toEqual([]);
      },
      phone,
    );
  });

  test('tabs are all visible and do not scroll', async () => {
    for (const locale of ['en-GB', 'uk-UA']) {
      await on(
        '',
        async (page) => {
          await still(page);
          const tabs = await page.locator('.tabs').evaluate((element) => ({
            isWider: element.scrollWidth > element.clientWidth,
            cut: [...element.querySelectorAll('a, button')].filter((tab) => tab.scrollWidth > tab.clientWidth + 1)
              .length,
          }));
          expect(tabs).toEqual({ isWider: false, cut: 0 });
        },
        { ...phone, locale },
      );
    }
  });

  test('a tap on an agent opens its sheet at half height; it grows, and closes', async () => {
    await on(
      '?layer=agents&entity=agent:sofia',
      async (page) => {
        const sheet = page.getByRole('dialog', { name: 'Sofia' });
        await sheet.waitFor();
        await still(page);
        // The link flew to the agent, above the sheet.
        await page.getByRole('button', { name: 'Close' }).click();
        await sheet.waitFor({ state: 'detached' });
        // Taps until the camera has followed the closed sheet.
        await expect
          .poll(async () => {
            const { x, y } = await agentAt(page);
            await page.touchscreen.tap(x, y);
            return query(page).get('entity');
          })
          .toBe('agent:sofia');
        await sheet.waitFor();
        const top = async () => Math.round((await boxOf(page, '.drawer')).y);
        await expect.poll(top).toBeGreaterThan(300);
        expect(await top()).toBeLessThan(560);
        await sheet.getByText('Tokens, 24 h').waitFor();
        expect(await accessibility(page)).toEqual([]);
        await page.getByRole('button', { name: 'Full height' }).click();
        await expect.poll(top).toBeLessThan(120);
        await page.getByRole('button', { name: 'Full height' }).press('Enter');
        await expect.poll(top).toBeGreaterThan(300);
        await page.keyboard.press('Escape');
        await sheet.waitFor({ state: 'detached' });
        expect(query(page).get('entity')).toBeNull();
      },
      phone,
    );
  });

  test('a table has one line for each row', async () => {
    await on(
      '?layer=agents&view=table',
      async (page) => {
        await page.locator('tbody th').first().waitFor();
        const heights = await page
          .locator('tbody tr:not(.gap)')
          .evaluateAll((rows) => rows.map((row) => row.getBoundingClientRect().height));
        expect(Math.max(...heights)).toBeLessThan(40);
        await page.locator('.table').evaluate((table) => table.scrollTo({ left: 400 }));
        const name = await boxOf(page, 'tbody th');
        expect(name.x).toBeGreaterThanOrEqual(0);
        expect(name.x + name.width).toBeLessThan(300);
      },
      phone,
    );
  });
});

/** Where the camera has flown to: the middle of what the tools and the legend leave free. */
async function agentAt(page: Page) {
  const [tools, legend, space] = [
    await boxOf(page, '.stage-tools'),
    await boxOf(page, '.legend'),
    await boxOf(page, 'main'),
  ];
  return { x: space.x + space.width / 2, y: (tools.y + tools.height + legend.y) / 2 };
}
