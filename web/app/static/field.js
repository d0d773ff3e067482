// @ts-check
/**
 * The picture: each microDAO a disc of its agents, its nodes around it; what an event touches lights up. It repeats in
 * space what the lists say in words, so it is for the eye alone; keyboard and screen reader have the lists.
 */

import { byId, calm, setText } from './dom.js';
import { layOut } from './layout.js';

/** @import { Store } from './store.js' */
/** @import { Disc, Spot } from './layout.js' */

/** The still picture is drawn again at most this often. Milliseconds. */
const REDRAW_MS = 400;
/** How long a touch is seen. Milliseconds. */
const PULSE_MS = 1100;
/** Touches seen at one time; beyond, the oldest go dark. */
const PULSE_LIMIT = 300;
/** How near the pointer has to come. Pixels. */
const REACH = 9;

export class Field {
  #canvas = /** @type {HTMLCanvasElement} */ (byId('field'));
  #context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext('2d'));
  #still = document.createElement('canvas');
  #caption = byId('field-caption');
  /** @type {Map<string, Spot>} */
  #spots = new Map();
  /** @type {{spot: Spot, at: number}[]} */
  #pulses = [];
  #stale = true;
  #drawnAt = 0;
  /** @type {Record<string, string>} */
  #colours = {};
  #size = { width: 0, height: 0, scale: 1 };

  /**
   * @param {Store} store
   * @param {(id: string) => void} onOpen
   * @param {() => void} redraw asks for {@link render} in the next frame
   */
  constructor(store, onOpen, redraw) {
    this.store = store;
    this.redraw = redraw;
    new ResizeObserver(() => this.invalidate()).observe(this.#canvas);
    window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.invalidate());
    this.#canvas.addEventListener('pointermove', (event) => this.#point(event));
    this.#canvas.addEventListener('pointerleave', () => setText(this.#caption, ''));
    this.#canvas.addEventListener('click', (event) => {
      const spot = this.#spotAt(event);
      if (spot) onOpen(spot.id);
    });
  }

  /** The map has changed. */
  invalidate() {
    this.#stale = true;
    this.redraw();
  }

  /** @param {string} id */
  touch(id) {
    const spot = this.#spots.get(id);
    if (!spot || calm.matches) return;
    this.#pulses.push({ spot, at: performance.now() });
    if (this.#pulses.length > PULSE_LIMIT) this.#pulses.shift();
    this.redraw();
  }

  /** @returns {boolean} whether another frame is needed */
  render() {
    const now = performance.now();
    const isDue = now - this.#drawnAt >= REDRAW_MS;
    if (this.#stale && isDue) {
      this.#stale = false;
      this.#drawnAt = now;
      this.#drawStill();
    }
    const { width, height, scale } = this.#size;
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (width > 0 && height > 0) context.drawImage(this.#still, 0, 0);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    this.#pulses = this.#pulses.filter(({ at }) => now - at < PULSE_MS);
    for (const { spot, at } of this.#pulses) this.#drawPulse(spot, (now - at) / PULSE_MS);
    return this.#stale || this.#pulses.length > 0;
  }

  #drawStill() {
    const scale = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    this.#size = { width, height, scale };
    for (const canvas of [this.#canvas, this.#still]) {
      const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
      if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    }
    this.#readColours();
    const { discs, spots } = layOut(this.store, width, height);
    this.#spots = spots;
    const context = /** @type {CanvasRenderingContext2D} */ (this.#still.getContext('2d'));
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    for (const disc of discs) this.#drawDisc(context, disc);
    for (const spot of spots.values()) if (spot.type !== 'microdao') this.#drawSpot(context, spot);
    // A touch goes with its entity when the layout moves it.
    this.#pulses = this.#pulses.flatMap(({ spot, at }) => {
      const moved = spots.get(spot.id);
      return moved ? [{ spot: moved, at }] : [];
    });
  }

  #readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ['agents', 'nodes', 'city', 'ok', 'warn', 'bad', 'quiet', 'disc', 'muted']) {
      this.#colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  /** @param {string} name */
  #colour(name) {
    return this.#colours[name] ?? '#888';
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Disc} disc
   */
  #drawDisc(context, disc) {
    context.beginPath();
    context.arc(disc.x, disc.y, disc.radius, 0, 2 * Math.PI);
    context.fillStyle = this.#colour('disc');
    context.fill();
    context.fillStyle = this.#colour('muted');
    context.font = '500 11px system-ui, sans-serif';
    context.textAlign = 'center';
    context.fillText(shorten(context, disc.label, disc.room), disc.x, disc.y + disc.outer + 14);
  }

  /**
   * The shapes are those of the marks in the lists.
   * @param {CanvasRenderingContext2D} context
   * @param {Spot} spot
   */
  #drawSpot(context, spot) {
    const { x, y, size, status } = spot;
    context.beginPath();
    if (status === 'warning') {
      context.moveTo(x, y - size);
      context.lineTo(x + size, y + size * 0.8);
      context.lineTo(x - size, y + size * 0.8);
      context.closePath();
    } else if (status === 'error') {
      context.moveTo(x, y - size * 1.2);
      context.lineTo(x + size * 1.2, y);
      context.lineTo(x, y + size * 1.2);
      context.lineTo(x - size * 1.2, y);
      context.closePath();
    } else if (spot.type === 'node') {
      context.rect(x - size * 0.8, y - size * 0.8, size * 1.6, size * 1.6);
    } else {
      context.arc(x, y, size, 0, 2 * Math.PI);
    }
    if (status === 'warning' || status === 'error') {
      context.fillStyle = this.#colour(status === 'error' ? 'bad' : 'warn');
      context.fill();
    } else if (status === 'online' || status === 'active') {
      context.fillStyle = this.#colour(spot.type === 'node' ? 'nodes' : 'agents');
      context.fill();
    } else {
      context.strokeStyle = this.#colour('quiet');
      context.lineWidth = Math.min(1.25, size / 2);
      context.stroke();
    }
  }

  /**
   * @param {Spot} spot
   * @param {number} progress 0 to 1
   */
  #drawPulse(spot, progress) {
    const context = this.#context;
    const isDisc = spot.type === 'microdao';
    context.globalAlpha = (1 - progress) ** 2;
    context.strokeStyle = this.#colour(spot.type === 'node' ? 'nodes' : isDisc ? 'city' : 'agents');
    context.lineWidth = 2;
    context.beginPath();
    context.arc(spot.x, spot.y, spot.size + (isDisc ? 4 : 12) * progress, 0, 2 * Math.PI);
    context.stroke();
    context.globalAlpha = 1;
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const spot = this.#spotAt(event);
    setText(this.#caption, spot ? `${spot.label} · ${spot.type} · ${spot.status}` : '');
    this.#canvas.classList.toggle('on-spot', spot !== null);
  }

  /**
   * @param {MouseEvent} event
   * @returns {Spot | null} the nearest in reach; a disc only where nothing on it is
   */
  #spotAt(event) {
    /** @type {Spot | null} */
    let best = null;
    let distance = REACH;
    /** @type {Spot | null} */
    let disc = null;
    for (const spot of this.#spots.values()) {
      const away = Math.hypot(spot.x - event.offsetX, spot.y - event.offsetY);
      if (spot.type === 'microdao') {
        if (away <= spot.size) disc = spot;
      } else if (away < distance) {
        best = spot;
        distance = away;
      }
    }
    return best ?? disc;
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} room pixels
 */
function shorten(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let end = text.length - 1;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > room) end -= 1;
  return `${text.slice(0, end)}…`;
}
