// @ts-check
/** The page: brings the stream, the store and the views together. Frames are folded as they come, drawn once a frame. */

import { getReady, streamUrl } from './api.js';
import { Cards } from './cards.js';
import { Detail } from './detail.js';
import { byId, setText } from './dom.js';
import { Feed } from './feed.js';
import { Field } from './field.js';
import { duration } from './format.js';
import { Sources } from './sources.js';
import { Store } from './store.js';
import { MapStream } from './stream.js';

/** @import { Connection, Frame, LayerName } from '../types.d.ts' */

/** How often the sources' health is asked for: between snapshots no frame carries it. Milliseconds. */
const READY_MS = 15_000;
const LAYERS = /** @type {LayerName[]} */ (['city', 'space', 'nodes', 'agents']);

const store = new Store();
const cards = new Cards(store, open);
const feed = new Feed(store, open);
const detail = new Detail(store, open);
const sources = new Sources(store);
const field = new Field(store, open, schedule);

let isScheduled = false;
let isPaused = false;
/** @type {Connection} */
let connection = { status: 'connecting', attempt: 0, retryAt: null };

function schedule() {
  if (isScheduled || isPaused) return;
  isScheduled = true;
  requestAnimationFrame(render);
}

function render() {
  isScheduled = false;
  const { dirty } = store;
  for (const layer of LAYERS) if (dirty.has(layer)) cards.render(layer);
  if (dirty.has('city')) renderHealth();
  if (dirty.has('feed')) feed.render();
  if (dirty.has('sources')) sources.render();
  const mapChanged = LAYERS.some((layer) => dirty.has(layer));
  dirty.clear();
  if (mapChanged) {
    detail.render();
    field.invalidate();
  }
  if (field.render()) schedule();
}

function renderHealth() {
  const health = store.field('city', 'health');
  const badge = byId('health');
  const words = { green: 'All well', yellow: 'Needs a look', red: 'Something is broken' };
  const known = health === 'green' || health === 'yellow' || health === 'red' ? health : null;
  badge.dataset.health = known ?? 'unknown';
  setText(byId('health-text'), known ? words[known] : 'No data yet');
}

function renderConnection() {
  const { status, retryAt } = connection;
  byId('connection').dataset.status = status;
  const wait = retryAt === null ? 0 : Math.ceil((retryAt - Date.now()) / 1000);
  const texts = {
    connecting: 'Connecting…',
    open: 'Live',
    closed: wait > 0 ? `Connection lost, next try in ${duration(wait)}` : 'Connection lost',
  };
  setText(byId('connection-text'), texts[status]);
}

/** @param {Frame} frame */
function receive(frame) {
  store.receive(frame);
  if (frame.kind === 'snapshot') document.body.classList.add('has-map');
  if (frame.kind === 'event') {
    if (!isPaused) detail.happened(frame);
    const touched = new Set(frame.changes?.flatMap((change) => (change.op === 'totals' ? [] : [change.id])));
    if (frame.entity_id) touched.add(frame.entity_id);
    if (!document.hidden && !isPaused) for (const id of touched) field.touch(id);
  }
  schedule();
}

async function refreshSources() {
  try {
    const ready = await getReady();
    const list = ready?.checks?.sources;
    if (Array.isArray(list)) store.setSources(list);
    schedule();
  } catch {
    // The connection badge already says that the server is away.
  }
}

/**
 * The entity is in the address, so that it can be shared and Back closes it.
 * @param {string} id
 */
function open(id) {
  location.hash = `entity=${encodeURIComponent(id)}`;
}

function followAddress() {
  const id = new URLSearchParams(location.hash.slice(1)).get('entity');
  if (id) detail.open(id);
  else detail.close();
}

function closeDetail() {
  history.replaceState(null, '', location.pathname + location.search);
  detail.close();
}

const stream = new MapStream({
  url: streamUrl(),
  onFrame: receive,
  onConnection: (now) => {
    connection = now;
    renderConnection();
  },
});

byId('pause').addEventListener('click', (event) => {
  isPaused = !isPaused;
  const button = /** @type {HTMLElement} */ (event.currentTarget);
  button.setAttribute('aria-pressed', String(isPaused));
  setText(button, isPaused ? 'Resume' : 'Pause');
  schedule();
});
byId('filter').addEventListener('input', (event) => cards.filter(/** @type {HTMLInputElement} */ (event.target).value));
byId('detail-close').addEventListener('click', closeDetail);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && location.hash) closeDetail();
});
window.addEventListener('hashchange', followAddress);
window.addEventListener('online', () => stream.connect());

setInterval(() => {
  store.tick();
  renderConnection();
  if (isPaused || document.hidden) return;
  feed.renderRate();
  cards.renderRows();
  sources.render();
}, 1000);
setInterval(refreshSources, READY_MS);

renderConnection();
stream.connect();
refreshSources();
followAddress();
