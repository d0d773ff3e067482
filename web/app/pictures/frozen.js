/**
 * Servers for pictures that are equal on every run: the simulated network of one seed without events of its own, a clock
 * that stands still, and recorded events at fixed times.
 */

import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer, tokenOf } from '../browser/support.js';

/** The displayed moment. */
export const NOW = Date.parse('2026-11-21T12:46:12Z');
/** A moment of the pictures that show the past, after about half of the events. */
export const PAST = new Date(NOW - 7 * 60_000).toISOString();
/** Time of the first event before `NOW` (ms), and number of times at which events are published. */
const SPAN = 14 * 60_000;
const BATCHES = 14;

/**
 * Events of `living-map demo --seed 7`, oldest first, with `$time` instead of their times. `failing` are those of incidents.
 * @type {Record<'usual' | 'failing', { event_type: string, payload: object }[]>}
 */
const recorded = JSON.parse(readFileSync(new URL('events.json', import.meta.url), 'utf8'));

const SERVICES = ['agents', 'microdao', 'dao', 'usage', 'city', 'space'];

/**
 * Networks of the pictures. Events about entities that a network lacks are left out.
 * @typedef {'none' | 'one' | 'sixty' | 'many' | 'failing' | 'closed'} Network
 * @type {Record<Network, { options: string[], events: typeof recorded.usual }>}
 */
const networks = {
  none: { options: SERVICES.flatMap((service) => ['--fault', `${service}=down`]), events: [] },
  one: { options: ['--agents', '1', '--microdaos', '1', '--nodes', '1'], events: recorded.usual },
  sixty: { options: [], events: recorded.usual },
  many: {
    options: ['--agents', '10000', '--microdaos', '40', '--nodes', '200'],
    events: [...recorded.usual, ...recorded.failing],
  },
  failing: { options: ['--fault', 'usage=down'], events: [...recorded.usual, ...recorded.failing] },
  /** Requires a token. */
  closed: { options: [], events: [] },
};

/** Path of libfaketime, which `scripts/setup-tests.sh` installs. */
function clockLibrary() {
  const paths = readdirSync('/usr/lib').map((folder) => `/usr/lib/${folder}/faketime`);
  for (const path of paths) {
    try {
      if (readdirSync(path).includes('libfaketimeMT.so.1')) return join(path, 'libfaketimeMT.so.1');
    } catch {
      // Another folder.
    }
  }
  throw new Error('libfaketime is needed: scripts/setup-tests.sh installs it');
}

/**
 * Starts a server whose clock stands at `NOW`, after all events of the network.
 * @param {Network} name
 * @returns {Promise<import('../browser/support.js').Server>}
 */
export async function startFrozen(name) {
  const { options, events } = networks[name];
  const folder = mkdtempSync(join(tmpdir(), 'living-map-clock-'));
  const file = join(folder, 'clock');
  const setClock = (/** @type {number} */ time) => {
    // Renamed, since the server may read the file at any moment.
    writeFileSync(`${file}.new`, new Date(time).toISOString().replace('T', ' ').slice(0, 19));
    renameSync(`${file}.new`, file);
  };
  setClock(NOW - SPAN);
  const viewer = name === 'closed' ? tokenOf('viewer') : null;
  const token = viewer?.token ?? null;
  const server = await startServer(
    ['--seed', '7', '--events-per-second', '0', ...options],
    {
      TZ: 'UTC',
      LD_PRELOAD: clockLibrary(),
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      // One poll at the start.
      SYNC_INTERVAL_SECONDS: '3600',
      // Alerts of a moment are raised before the clock moves on.
      ALERT_INTERVAL_SECONDS: '0.02',
      ...(viewer && { AUTH: 'token', AUTH_TOKENS: viewer.line }),
    },
    token,
  );
  await caughtUp(server.url, token);
  const known = events.length > 0 ? await knownEvents(server.url, events) : [];
  const size = Math.ceil(known.length / BATCHES) || 1;
  for (let at = 0; at < known.length; at += size) {
    const batch = known.slice(at, at + size);
    setClock(Date.parse(batch.at(-1)?.timestamp ?? ''));
    await publish(server.url, batch);
    await caughtUp(server.url, token);
  }
  setClock(NOW);
  await caughtUp(server.url, token);
  return {
    ...server,
    close: async () => {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Events about entities of the network, with ids and evenly distributed times.
 * @param {string} url
 * @param {typeof recorded.usual} events
 */
async function knownEvents(url, events) {
  const { layers } = await (await fetch(`${url}living-map/snapshot`)).json();
  const items = [...layers.agents.items, ...layers.nodes.items, ...layers.city.items];
  const ids = new Set(items.map((/** @type {{ id: string }} */ { id }) => id));
  const known = events.filter((event) =>
    (JSON.stringify(event).match(/\b(?:agent|node|microdao):[\w-]+/g) ?? []).every((id) => ids.has(id)),
  );
  return known.map((event, at) => {
    const timestamp = new Date(NOW - SPAN + Math.floor((SPAN * (at + 1)) / (known.length + 1))).toISOString();
    const text = JSON.stringify(event).replaceAll('"$time"', `"${timestamp}"`);
    const { event_id = `00000000-0000-4000-8000-${String(at).padStart(12, '0')}` } = JSON.parse(text).payload;
    return { ...JSON.parse(text), event_id, timestamp };
  });
}

/**
 * Publishes events; without a time of their own, at the server's.
 * @param {string} url
 * @param {object[]} events
 */
export async function publish(url, events) {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${url}living-map/events`, { method: 'POST', headers, body: JSON.stringify(events) });
  const { results } = await answer.json();
  const rejected = results?.filter((/** @type {{ status: string }} */ { status }) => status !== 'accepted');
  if (!answer.ok || rejected.length > 0) throw new Error(`${answer.status}: ${JSON.stringify(rejected)}`);
}

/** Number of polls, 20 ms apart, that find nothing new after a moment's alerts and lessons were published. */
const QUIET_POLLS = 15;

/**
 * Waits until the map has all events and what they cause: alerts and lessons.
 * @param {string} url
 * @param {string | null} token
 */
async function caughtUp(url, token) {
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  let [last, unchanged] = ['', 0];
  while (unchanged < QUIET_POLLS) {
    const { checks } = await (await fetch(`${url}living-map/ready`, { headers })).json();
    const isBehind = checks.map.lag > 0 || (checks.learner?.lag ?? 0) > 0;
    unchanged = !isBehind && checks.map.cursor === last ? unchanged + 1 : 0;
    last = checks.map.cursor;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
