/** The layout of the map while agents come and go. */

import pixelmatch from 'pixelmatch';
import type { Browser, Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NOW, publish, startFrozen } from '../pictures/frozen.js';
import { type Server, startBrowser, startServer } from './support.js';
import { still, visit } from './visit.js';

let browser: Browser;

beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser?.close());

const created = (id: string, microdao: string) => ({
  event_type: 'agent.event.created',
  payload: { agent_id: id, name: id, kind: 'scout', is_active: true, microdao_id: microdao },
});
/** The map above the legend, whose figures change. */
async function picture(page: Page): Promise<PNG> {
  const [canvas, legend] = await Promise.all([
    page.locator('.canvas').boundingBox(),
    page.locator('.legend').boundingBox(),
  ]);
  if (!canvas || !legend) throw new Error('no map');
  const clip = { ...canvas, height: legend.y - canvas.y };
  return PNG.sync.read(await page.screenshot({ clip }));
}

async function withServer(server: Server, use: (server: Server) => Promise<void>) {
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

/** Bounds of the pixels that differ: left, top, right, bottom. */
function changedBounds(a: PNG, b: PNG): [number, number, number, number] {
  const { width, height } = a;
  const mask = new PNG({ width, height });
  pixelmatch(a.data, b.data, mask.data, width, height, { threshold: 0.1, diffMask: true });
  const bounds: [number, number, number, number] = [width, height, 0, 0];
  for (let pixel = 0; pixel < width * height; pixel++) {
    if (mask.data[pixel * 4 + 3] === 0) continue;
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    bounds[0] = Math.min(bounds[0], x);
    bounds[1] = Math.min(bounds[1], y);
    bounds[2] = Math.max(bounds[2], x);
    bounds[3] = Math.max(bounds[3], y);
  }
  return bounds;
}

test('a further agent changes the picture of its district only', async () =>
  withServer(await startFrozen('sixty'), (server) => {
    const prepare = (page: Page) => page.clock.setFixedTime(NOW);
    const options = { reducedMotion: 'reduce' } as const;
    return visit({ browser, url: `${server.url}?panel=none`, options, prepare }, async (page) => {
      await still(page);
      await page.getByRole('button', { name: 'Got it' }).click();
      const total = async () => (await page.getByRole('region', { name: 'Legend' }).textContent()) ?? '';
      const [before, counts] = [await picture(page), await total()];
      await publish(server.url, [created('agent:further', 'microdao:2')]);
      await expect.poll(total).not.toBe(counts);
      await page.mouse.move(5, 5);
      let after = before;
      await expect
        .poll(async () => {
          await still(page);
          after = await picture(page);
          const [left, , right] = changedBounds(before, after);
          return right - left;
        })
        .toBeGreaterThan(0);
      const [left, top, right, bottom] = changedBounds(before, after);
      // Three districts by two.
      expect(right - left).toBeLessThan(before.width / 3);
      expect(bottom - top).toBeLessThan(before.height / 2);
    });
  }));

test('a slow page draws a large city whose membership keeps changing', async () =>
  withServer(
    await startServer(['--agents', '5000', '--microdaos', '1', '--events-per-second', '0']),
    async (server) => {
      let number = 0;
      const timer = setInterval(() => {
        number += 1;
        publish(server.url, [created(`agent:in-flight-${number}`, 'microdao:1')]).catch(() => {});
      }, 500);
      try {
        await visit({ browser, url: `${server.url}?panel=none` }, async (page) => {
          const session = await page.context().newCDPSession(page);
          await session.send('Emulation.setCPUThrottlingRate', { rate: 4 });
          await page.waitForSelector('html[data-picture]');
          const colours = async () => new Set(new Uint32Array(new Uint8Array((await picture(page)).data).buffer)).size;
          await expect.poll(colours).toBeGreaterThan(20);
          // New agents are placed, and the last picture stays meanwhile.
          for (let round = 0; round < 3; round++) {
            const from = number;
            await expect.poll(() => number).toBeGreaterThan(from + 3);
            expect(await colours()).toBeGreaterThan(20);
          }
          clearInterval(timer);
          await page.evaluate(
            (id) => history.replaceState(null, '', `?panel=none&entity=${id}`),
            `agent:in-flight-${number - 3}`,
          );
          await page.evaluate(() => dispatchEvent(new PopStateEvent('popstate')));
          await expect.poll(() => page.locator('#entity-title').textContent()).toBe(`agent:in-flight-${number - 3}`);
        });
      } finally {
        clearInterval(timer);
      }
    },
  ));
