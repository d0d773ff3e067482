/**
 * Benchmark: time from the start of a navigation to the first map with data. `npm run bench:first --workspace app`, with
 * the binary built. LOADS: number of loads; AGENTS and EVENTS (per second): network size, by default that of the demo.
 */

import { cpus, loadavg } from 'node:os';
import { startBrowser, startServer } from '../browser/support.js';
import { load, median } from './pictures.js';

const LOADS = Number(process.env.LOADS ?? 9);
const { AGENTS, EVENTS } = process.env;
const options = [...(AGENTS ? ['--agents', AGENTS] : []), ...(EVENTS ? ['--events-per-second', EVENTS] : [])];

const server = await startServer(options);
const browser = await startBrowser();
try {
  console.log(`${cpus().length} cores of ${cpus()[0]?.model}; Chromium ${browser.version()}, software rendering`);
  const loads = [];
  for (let number = 0; number < LOADS; number++) {
    const times = await load(browser, server.url);
    console.log(
      `  first picture ${times.first.toFixed(0)} ms, interactive ${times.interactive.toFixed(0)} ms; load ${loadavg()[0]?.toFixed(1)}`,
    );
    loads.push(times);
  }
  const [first, interactive] = [median(loads.map((one) => one.first)), median(loads.map((one) => one.interactive))];
  console.log(`median of ${LOADS}: first picture ${first.toFixed(0)} ms, interactive ${interactive.toFixed(0)} ms`);
} finally {
  await browser.close();
  await server.close();
}
