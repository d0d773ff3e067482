/**
 * Benchmark: frame times with and without events. `npm run bench --workspace app`, with the binary built. AGENTS and
 * EVENTS (per second): network size; SECONDS: duration of each measurement. Chromium renders in software here, so the
 * numbers depend on the CPU.
 */

import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { startBrowser, startServer } from '../browser/support.js';

const AGENTS = (process.env.AGENTS ?? '60,10000').split(',');
const EVENTS = process.env.EVENTS ?? '200';
const SECONDS = Number(process.env.SECONDS ?? 10);
/** Output file for a CPU profile of the page with events. */
const { PROFILE } = process.env;

const pause = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Measures frame intervals and long tasks while `during` runs.
 * @param {import('playwright-core').Page} page
 * @param {() => Promise<unknown>} during
 */
async function frames(page, during) {
  await page.evaluate(() => {
    const times = /** @type {number[]} */ ([]);
    const tasks = /** @type {number[]} */ ([]);
    const observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) tasks.push(duration);
    });
    observer.observe({ type: 'longtask' });
    Object.assign(globalThis, { measured: { times, tasks, observer, isOver: false } });
    const count = (/** @type {number} */ now) => {
      times.push(now);
      if (!(/** @type {any} */ (globalThis).measured.isOver)) requestAnimationFrame(count);
    };
    requestAnimationFrame(count);
  });
  await during();
  const { times, tasks } = await page.evaluate(() => {
    const { measured } = /** @type {any} */ (globalThis);
    measured.isOver = true;
    measured.observer.disconnect();
    return /** @type {{times: number[], tasks: number[]}} */ ({ times: measured.times, tasks: measured.tasks });
  });
  const gaps = times.slice(1).map((time, at) => time - (times[at] ?? 0));
  gaps.sort((a, b) => a - b);
  const part = (/** @type {number} */ share) => (gaps[Math.floor(gaps.length * share)] ?? 0).toFixed(0);
  const second = gaps.reduce((sum, gap) => sum + gap, 0) / 1000;
  const held = tasks.reduce((sum, task) => sum + task, 0) / second;
  const longest = Math.max(0, ...tasks).toFixed(0);
  return (
    `${(gaps.length / second).toFixed(1)} frames/s, gap p50 ${part(0.5)} p95 ${part(0.95)} ms; tasks over 50 ms: ` +
    `${(tasks.length / second).toFixed(2)}/s, ${held.toFixed(0)} ms/s, longest ${longest} ms; load ${loadavg()[0]?.toFixed(1)}`
  );
}

const browser = await startBrowser();
try {
  console.log(`${cpus().length} cores of ${cpus()[0]?.model}; Chromium ${browser.version()}, software rendering`);
  for (const agents of AGENTS) {
    const server = await startServer(['--agents', agents, '--events-per-second', EVENTS]);
    try {
      const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
      await page.goto(`${server.url}?layer=agents`);
      await page.waitForSelector('html[data-picture=still]', { timeout: 120_000 });
      console.log(`\n${agents} agents, ${EVENTS} events/s`);
      await pause(3000);
      const rest = () => pause(SECONDS * 1000);
      const pan = async () => {
        await page.mouse.move(500, 400);
        await page.mouse.down();
        const end = performance.now() + SECONDS * 1000;
        for (let step = 0; performance.now() < end; step++) {
          await page.mouse.move(500 + 120 * Math.sin(step / 8), 400 + 90 * Math.cos(step / 8));
          await pause(30);
        }
        await page.mouse.up();
      };
      const session = await page.context().newCDPSession(page);
      if (PROFILE) {
        await session.send('Profiler.enable');
        await session.send('Profiler.start');
      }
      console.log(`  at rest, with events:    ${await frames(page, rest)}`);
      if (PROFILE) {
        const { profile } = await session.send('Profiler.stop');
        writeFileSync(`${PROFILE}-${agents}.cpuprofile`, JSON.stringify(profile));
      }
      console.log(`  panning, with events:    ${await frames(page, pan)}`);
      server.hold();
      await pause(3000);
      console.log(`  at rest, without events: ${await frames(page, rest)}`);
      console.log(`  panning, without events: ${await frames(page, pan)}`);
      server.resume();
      await page.close();
    } finally {
      await server.close();
    }
  }
} finally {
  await browser.close();
}
