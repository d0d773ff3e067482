/**
 * How long pictures take: `npm run bench --workspace app`, with the binary built. Numbers of this machine's processor:
 * Chromium draws by software here.
 */

import { cpus } from 'node:os';
import { startBrowser, startServer } from '../browser/support.js';

const AGENTS = Number(process.env.AGENTS ?? 10_000);
const EVENTS = Number(process.env.EVENTS ?? 200);
const SECONDS = 10;

/**
 * Times between pictures while `during` goes on.
 * @param {import('playwright-core').Page} page
 * @param {() => Promise<void>} during
 */
async function frames(page, during) {
  await page.evaluate(() => {
    const times = /** @type {number[]} */ ([]);
    Object.assign(globalThis, { frameTimes: times, isCounting: true });
    const count = (/** @type {number} */ now) => {
      times.push(now);
      if (/** @type {any} */ (globalThis).isCounting) requestAnimationFrame(count);
    };
    requestAnimationFrame(count);
  });
  await during();
  const times = await page.evaluate(() => {
    /** @type {any} */ (globalThis).isCounting = false;
    return /** @type {number[]} */ (/** @type {any} */ (globalThis).frameTimes);
  });
  const gaps = times.slice(1).map((time, at) => time - (times[at] ?? 0));
  gaps.sort((a, b) => a - b);
  const part = (/** @type {number} */ share) => (gaps[Math.floor(gaps.length * share)] ?? 0).toFixed(1);
  const second = gaps.reduce((sum, gap) => sum + gap, 0) / 1000;
  return `${(gaps.length / second).toFixed(1)} frames/s, gap p50 ${part(0.5)} ms, p95 ${part(0.95)} ms, max ${part(0.9999)} ms`;
}

const pause = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

const browser = await startBrowser();
try {
  console.log(`${cpus().length} cores of ${cpus()[0]?.model}; Chromium ${browser.version()}, software rendering`);
  for (const [agents, events] of [
    [60, 8],
    [AGENTS, EVENTS],
  ]) {
    const server = await startServer(['--agents', String(agents), '--events-per-second', String(events)]);
    try {
      const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
      await page.goto(`${server.url}?layer=agents`);
      await page.waitForSelector('html[data-picture=still]', { timeout: 120_000 });
      const first = await page.evaluate(() => performance.getEntriesByName('first-picture')[0]?.startTime ?? 0);
      console.log(`\n${agents} agents, ${events} events/s: first picture after ${first.toFixed(0)} ms`);
      await pause(3000);
      console.log(`  at rest, events rippling: ${await frames(page, () => pause(SECONDS * 1000))}`);
      const moving = async () => {
        await page.mouse.move(500, 400);
        await page.mouse.down();
        for (let step = 0; step < SECONDS * 20; step++) {
          await page.mouse.move(500 + 120 * Math.sin(step / 8), 400 + 90 * Math.cos(step / 8));
          await pause(50);
        }
        await page.mouse.up();
      };
      console.log(`  while panning: ${await frames(page, moving)}`);
      const changing = async () => {
        for (let turn = 0; turn < SECONDS / 2; turn++) {
          await page.keyboard.press(turn % 2 === 0 ? '1' : '4');
          await pause(2000);
        }
      };
      console.log(`  between layers: ${await frames(page, changing)}`);
      await page.close();
    } finally {
      await server.close();
    }
  }
} finally {
  await browser.close();
}
