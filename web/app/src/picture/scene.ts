/**
 * Scene of the map: layout, styles, camera and animation. Outside React, so that an event costs one frame and no
 * component render. Draws only after changes.
 */

import type { Layers } from '@living-map/react';
import { type Filter, NO_FILTER } from '../filter';
import type { Arrangement } from '../layout/arrange';
import { Arranger } from '../layout/arranger';
import { type Seeds, samePlaces, seedsOf } from '../layout/seeds';
import type { View } from '../view';
import { allOf, Camera, closeTo, type Look, mapIn, pixelIn, wholeOf } from './camera';
import { Composer, type Subject } from './composer';
import type { Drawing } from './drawing';
import type { Painter, Size } from './painter';
import { readPalette } from './palette';
import { Places } from './places';
import { Ripples } from './ripples';
import { Sketch } from './sketch';

/** Minimum interval between layouts of a layer, so that one animation ends before the next starts (ms). */
const LAYOUT_MS = 1500;
/** Picking tolerance (px). */
const REACH = 6;
/** An entity closer to the canvas edge is centred when revealed (px). */
const EDGE = 40;
/** Number of frames that may be in the pipeline before the first one is presented. */
const FRAMES_ON_WAY = 3;

export interface Target {
  id: string;
  x: number;
  y: number;
}

export interface SceneEvents {
  /** The hovered entity with its canvas position; `null` if there is none. */
  onHover: (target: Target | null) => void;
  onOpen: (id: string | null) => void;
  /** The first drawing has been painted on the 2D canvas. */
  onSketch: () => void;
  /** deck.gl has rendered a complete frame; `isStill`: no animation is running. */
  onDraw: (isStill: boolean) => void;
  /** deck.gl is not available in this browser. */
  onFail: () => void;
}

export class Scene {
  #sketch: Sketch | null;
  #painter: Painter;
  readonly #camera = new Camera();
  readonly #places = new Places();
  readonly #composer = new Composer();
  readonly #ripples: Ripples;
  readonly #arranger = new Arranger((seeds, arrangement) => this.#place(seeds, arrangement));
  #subject: Subject = {
    layers: null,
    palette: readPalette(),
    filter: NO_FILTER,
    selected: null,
    hovered: null,
    noneLabel: '',
  };
  /** The diagram of the last requested layout. */
  #wanted: Seeds | null = null;
  /** Entity to fly to once it has a position. */
  #awaited: string | null = null;
  /** Inputs of the last paint. */
  #seen: unknown[] = [];
  #frame = 0;
  /** Whether the next frame must redraw the map, not only the ripples. */
  #isStale = false;
  /** Time of the last layout request, and the timer of the next one. */
  #arrangedAt = Number.NEGATIVE_INFINITY;
  #waiting: ReturnType<typeof setTimeout> | undefined;
  #size: Size = { width: 1, height: 1 };
  readonly #sizes: ResizeObserver;
  #isSketched = false;
  #isClosed = false;

  /** @param isCalm whether the user prefers reduced motion */
  constructor(
    private readonly host: HTMLDivElement,
    private readonly events: SceneEvents,
    private readonly isCalm: () => boolean,
  ) {
    this.#ripples = new Ripples(host);
    this.#sketch = new Sketch(host);
    this.#painter = this.#sketch;
    this.#resize();
    this.#sizes = new ResizeObserver(() => this.#resize());
    this.#sizes.observe(host);
  }

  close(): void {
    this.#isClosed = true;
    this.#sizes.disconnect();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#waiting);
    this.#arranger.close();
    this.#sketch?.close();
    this.#painter.close();
    this.#ripples.close();
  }

  /** Sets the map and the displayed layer. */
  show(layers: Layers | null, layer: View['layer']): void {
    // Do not start with an empty map: the first one would be animated from it.
    if (layers === null && this.#places.seeds === null) return;
    this.#subject.layers = layers;
    const seeds = seedsOf(layers, layer);
    if (this.#wanted?.layer !== layer) this.#camera.isFree = true;
    if (samePlaces(this.#wanted, seeds)) {
      this.#wanted = seeds;
      // Keep the displayed map while a layout is being computed.
      if (!samePlaces(this.#places.seeds, seeds)) return;
      this.#places.replace(seeds);
      this.#schedule();
      return;
    }
    const wait = this.#arrangedAt + LAYOUT_MS - performance.now();
    clearTimeout(this.#waiting);
    if (this.#wanted?.layer === layer && wait > 0) {
      this.#waiting = setTimeout(() => this.show(this.#subject.layers, layer), wait);
      return;
    }
    this.#wanted = seeds;
    this.#arrangedAt = performance.now();
    this.#arranger.arrange(seeds);
  }

  look(filter: Filter, selected: string | null, noneLabel: string): void {
    this.#subject = { ...this.#subject, filter, selected, noneLabel };
    this.#schedule();
  }

  /** Redraws after a theme change. */
  repaint(): void {
    this.#subject.palette = readPalette();
    this.#schedule();
  }

  touch(id: string): void {
    if (!this.#places.has(id)) return;
    this.#ripples.add(id, performance.now());
    this.#animate();
  }

  /** Moves the camera to an entity, as soon as it has a position. */
  flyTo(id: string): void {
    this.#awaited = id;
    const place = this.#places.of(id);
    if (!place || this.#wanted !== this.#places.seeds) return;
    this.#awaited = null;
    this.#camera.isFree = false;
    const bounds = this.#places.boundsOf(id);
    const look = bounds ? allOf(bounds, this.#size) : closeTo(place);
    this.#fly({ ...look, zoom: Math.max(look.zoom, this.#whole().zoom) });
  }

  /** Centres an entity unless it is visible already. */
  reveal(id: string): void {
    const place = this.#places.of(id);
    const pixel = this.pixelOf(id);
    if (!place || !pixel) return;
    const { width, height } = this.#size;
    if (pixel.x > EDGE && pixel.y > EDGE && pixel.x < width - EDGE && pixel.y < height - EDGE) return;
    this.#camera.isFree = false;
    this.#fly({ target: [place[0], place[1], 0], zoom: this.#camera.look.zoom });
  }

  fit(): void {
    this.#camera.isFree = true;
    this.#fly(this.#whole());
  }

  zoomBy(steps: number): void {
    this.#camera.isFree = false;
    const { target, zoom } = this.#camera.look;
    this.#fly({ target, zoom: zoom + steps });
  }

  /** The nearest entity to the selected one in a direction; the one in the centre if none is selected. */
  next(dx: number, dy: number): string | null {
    return this.#places.next(this.#subject.selected, dx, dy);
  }

  at(x: number, y: number): string | null {
    const { look } = this.#camera;
    const place = mapIn(look, this.#size, x, y);
    return this.#places.at(place.x, place.y, REACH / 2 ** look.zoom);
  }

  hover(x: number, y: number): void {
    const id = this.at(x, y);
    if (id !== this.#subject.hovered) {
      this.#subject.hovered = id;
      this.#schedule();
    }
    this.events.onHover(id === null ? null : { id, x, y });
  }

  leave(): void {
    if (this.#subject.hovered !== null) this.#schedule();
    this.#subject.hovered = null;
    this.events.onHover(null);
  }

  /** Canvas position of an entity (px), for tests and tooltips. */
  pixelOf(id: string): { x: number; y: number } | null {
    const place = this.#places.of(id);
    if (!place) return null;
    return pixelIn(this.#camera.look, this.#size, place[0], place[1]);
  }

  #place(asked: Seeds, arrangement: Arrangement) {
    const now = this.isCalm() || this.#places.seeds === null ? null : performance.now();
    // Statuses may have changed while the worker was running.
    const seeds = this.#wanted && samePlaces(this.#wanted, asked) ? this.#wanted : asked;
    this.#places.moveTo(seeds, arrangement, now);
    if (this.#camera.isFree) this.#camera.flyTo(this.#whole(), now);
    this.#schedule();
    if (this.#awaited !== null) this.flyTo(this.#awaited);
  }

  #whole(): Look {
    return wholeOf(this.#places.bounds, this.#size);
  }

  #fly(look: Look) {
    this.#camera.flyTo(look, this.isCalm() ? null : performance.now());
    this.#schedule();
  }

  /** Schedules a redraw of the map. */
  #schedule() {
    this.#isStale = true;
    this.#animate();
  }

  #animate() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame((now) => {
      this.#frame = 0;
      this.#render(now);
    });
  }

  #render(now: number) {
    const { seeds } = this.#places;
    if (!seeds) return;
    if (this.#isStale) this.#redraw(now, seeds);
    const placeOf = (key: string) => this.#places.now(key);
    const { accent } = this.#subject.palette;
    const hasRipples = this.#ripples.paint(now, placeOf, this.#camera.look, this.#size, accent, this.isCalm());
    if (this.#isMoving) this.#schedule();
    else if (hasRipples) this.#animate();
  }

  #redraw(now: number, seeds: Seeds) {
    this.#isStale = false;
    this.#places.step(now);
    this.#camera.step(now);
    this.#paint(this.#composer.compose(seeds, this.#places, this.#subject, this.#camera.look, this.#size));
    if (!this.#isSketched) this.#finish();
  }

  /** Paints the drawing if anything has changed since the last paint. */
  #paint(drawing: Drawing) {
    const seen = [...Object.values(drawing), this.#painter, this.#camera.look, this.#size];
    if (seen.length === this.#seen.length && seen.every((value, at) => value === this.#seen[at])) return;
    this.#seen = seen;
    this.#painter.paint(drawing, this.#camera.look, this.#size);
  }

  /** Loads deck.gl after the first paint; the 2D canvas is removed once deck.gl shows the same. */
  async #finish() {
    this.#isSketched = true;
    this.events.onSketch();
    // Shader compilation blocks pending frames: wait until the first one has been presented.
    for (let frame = 0; frame < FRAMES_ON_WAY; frame++) await new Promise(requestAnimationFrame);
    try {
      // The chunk may no longer exist after a server upgrade.
      const { deckPainter } = await import('./deck');
      if (this.#isClosed) return;
      this.#painter = deckPainter(this.host, {
        onLook: (look) => {
          this.#camera.isFree = false;
          this.#camera.set(look);
          this.#schedule();
        },
        onDraw: () => {
          this.#sketch?.close();
          this.#sketch = null;
          this.events.onDraw(!this.#isMoving);
        },
      });
    } catch {
      this.events.onFail();
    }
    this.#schedule();
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.host;
    this.#size = { width: Math.max(1, width), height: Math.max(1, height) };
    if (this.#camera.isFree) this.#camera.flyTo(this.#whole(), null);
    this.#schedule();
  }

  get #isMoving(): boolean {
    return this.#places.isMoving || this.#camera.isFlying;
  }
}
