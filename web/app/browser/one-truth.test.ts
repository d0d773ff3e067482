/** Header, badge, legend, filters, table and map show the same state of the network, however large it is. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NOW, startFrozen } from '../pictures/frozen.js';
import { type Server, startBrowser } from './support.js';
import { query, rowCount, still, visit } from './visit.js';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([startFrozen('many'), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const on = (path: string, check: (page: Page) => Promise<unknown>) => {
  const prepare = (page: Page) => page.clock.setFixedTime(NOW);
  const options = { reducedMotion: 'reduce' } as const;
  return visit({ browser, url: server.url + path, options, prepare }, check);
};
const chip = (page: Page, condition: string) =>
  page.getByRole('region', { name: 'Legend' }).getByRole('button', { name: condition });
const countOf = async (page: Page, condition: string) =>
  Number((await chip(page, condition).locator('.figure').textContent())?.replaceAll(/\D/g, ''));

test('at 10,000 agents header, badge, legend and filter agree on what is wrong', async () => {
  const { layers } = await (await fetch(`${server.url}living-map/snapshot`)).json();
  const alerts: { severity: string; entity_id: string | null }[] = layers.city.alerts;
  const agents = new Set(
    alerts.flatMap(({ severity, entity_id }) =>
      severity !== 'info' && entity_id?.startsWith('agent:') ? entity_id : [],
    ),
  );
  expect(agents.size).toBeGreaterThan(1);
  await on('?layer=agents&view=table&panel=alerts', async (page) => {
    await expect.poll(() => rowCount(page)).toBeGreaterThan(9000);
    await page
      .locator('.sentence')
      .getByText(/failing|attention/)
      .waitFor();
    const badge = Number(
      await page
        .getByRole('link', { name: /Alerts/ })
        .locator('.count')
        .textContent(),
    );
    expect(await page.locator('#panel ul.rows:not([aria-label="Notices"]) > li').count()).toBe(badge);
    const wrong = (await countOf(page, 'failing')) + (await countOf(page, 'warning'));
    expect(wrong).toBeGreaterThanOrEqual(agents.size);
    await chip(page, 'failing').click();
    await chip(page, 'warning').click();
    await expect.poll(() => rowCount(page)).toBe(wrong);
    const shown = await page.locator('tbody tr:not(.gap)').allTextContents();
    expect(shown.filter((text) => /failing|warning/.test(text))).toHaveLength(shown.length);
  });
});

test('at 10,000 agents the mark of a failing agent is not green', async () => {
  const { layers } = await (await fetch(`${server.url}living-map/snapshot`)).json();
  const { entity_id } = layers.city.alerts.find(
    (alert: { severity: string; entity_id: string | null }) =>
      alert.severity === 'warning' && alert.entity_id?.startsWith('agent:'),
  );
  await on(`?layer=agents&entity=${entity_id}&panel=none`, async (page) => {
    await still(page);
    const panel = page.locator('.sheet.entity');
    await panel.locator('.pill').getByText('warning').waitFor();
    expect(query(page).get('entity')).toBe(entity_id);
    // The map is centred on the agent.
    const image = (await page.locator('.canvas').screenshot()).toString('base64');
    const { warning, working } = await page.evaluate(async (text) => {
      const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes]));
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      context?.drawImage(bitmap, 0, 0);
      const { data = [] } = context?.getImageData(0, 0, bitmap.width, bitmap.height) ?? {};
      const style = getComputedStyle(document.documentElement);
      const count = (name: string) => {
        const value = Number.parseInt(style.getPropertyValue(name).trim().slice(1), 16);
        let found = 0;
        for (let at = 0; at < data.length; at += 4) {
          const apart = [16, 8, 0].reduce(
            (sum, shift, channel) => sum + Math.abs((data[at + channel] ?? 0) - ((value >> shift) & 255)),
            0,
          );
          if (apart < 12) found += 1;
        }
        return found;
      };
      return { warning: count('--warning'), working: count('--working') };
    }, image);
    expect(warning).toBeGreaterThan(200);
    expect(working).toBeLessThan(warning);
  });
});
