/**
 * The picture: where everything is, how it looks, and what moves. Outside React, so that an event costs a frame and no
 * rendering of components. It draws when something has changed, and only then.
 */

import type { Layers } from '@living-map/react';
import { type Filter, NO_FILTER } from '../filter';
import type { Arrangement } from '../layout/arrange';
import { Arranger } from '../layout/arranger';
import { type Seeds, samePlaces, seedsOf } from '../layout/seeds';
import type { View } from '../view';
import { barsOf } from './bars';
import { Camera, type Look, MAX_ZOOM, pixelIn, wholeOf } from './camera';
import { around, type Circles, type Drawing, type Marks, type Ring } from './drawing';
import { type Label, labelsOf, textMeasure } from './labels';
import { Motion } from './motion';
import type { Painter, Size } from './painter';
import { type Palette, readPalette, shapeOf } from './palette';
import { nearest, neighbour } from './pick';
import { Ripples } from './ripples';
import { Sketch } from './sketch';
import { type Style, sameLook, styleOf } from './style';

/** A layer is laid out again at most this often: one movement is over before the next begins. Milliseconds. */
const LAYOUT_MS = 1500;
/** How near a pointer has to come. Pixels. */
const REACH = 6;
/** A place is looked at so that its circle has about this radius. Pixels. */
const CLOSE = 46;
/** What is nearer to the edge is brought to the middle. Pixels. */
const EDGE = 40;
/** So many frames may be made before the first of them is on the screen. */
const FRAMES_ON_WAY = 3;

export interface Target {
  id: string;
  x: number;
  y: number;
}

export interface SceneEvents {
  /** The pointer is over an entity, at a place in the picture; `null`: over none. */
  onHover: (target: Target | null) => void;
  onOpen: (id: string | null) => void;
  /** The first picture is in the frame that is being made. */
  onSketch: () => void;
  /** Something was drawn, with all that there is to it; whether all of it is where it belongs. */
  onDraw: (isStill: boolean) => void;
  /** This browser cannot draw it. */
  onFail: () => void;
}

export class Scene {
  #sketch: Sketch | null;
  #painter: Painter;
  readonly #camera = new Camera();
  readonly #widthOf = textMeasure();
  readonly #marks = new Motion();
  readonly #groups = new Motion();
  readonly #ripples: Ripples;
  readonly #arranger = new Arranger((seeds, arrangement) => this.#place(seeds, arrangement));
  #palette: Palette = readPalette();
  #layers: Layers | null = null;
  #seeds: Seeds | null = null;
  /** What was asked to be laid out last. */
  #wanted: Seeds | null = null;
  #arrangement: Arrangement | null = null;
  #filter: Filter = NO_FILTER;
  #selected: string | null = null;
  #hovered: string | null = null;
  #noneLabel = '';
  /** Entities to fly to as soon as they have a place. */
  #awaited: string | null = null;
  #style: Style | null = null;
  /** Whether the style is that of the map as it is now. */
  #isStyled = false;
  #drawn: Partial<Drawing> = {};
  /** Its lists as text, to see by whether one has changed. */
  readonly #texts = { labels: '', rings: '' };
  /** What the painter was given last. */
  #seen: unknown[] = [];
  #frame = 0;
  /** Whether the next frame is for more than ripples. */
  #isStale = false;
  /** When a layout was asked for last, and the wait for the next. */
  #arrangedAt = Number.NEGATIVE_INFINITY;
  #waiting: ReturnType<typeof setTimeout> | undefined;
  #size: Size = { width: 1, height: 1 };
  readonly #sizes: ResizeObserver;
  #isSketched = false;
  #isClosed = false;

  /** @param isCalm whether nothing may move by itself */
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

  /** The map, and which of its layers is to be seen. */
  show(layers: Layers | null, layer: View['layer']): void {
    // An empty picture before the first would be one to move from.
    if (layers === null && this.#seeds === null) return;
    this.#layers = layers;
    const seeds = seedsOf(layers, layer);
    if (this.#wanted?.layer !== layer) this.#camera.isFree = true;
    if (samePlaces(this.#wanted, seeds)) {
      this.#wanted = seeds;
      // While a layout is on its way, what is on show stays.
      if (!samePlaces(this.#seeds, seeds)) return;
      this.#seeds = seeds;
      this.#restyle();
      return;
    }
    const wait = this.#arrangedAt + LAYOUT_MS - performance.now();
    clearTimeout(this.#waiting);
    if (this.#wanted?.layer === layer && wait > 0) {
      this.#waiting = setTimeout(() => this.show(this.#layers, layer), wait);
      return;
    }
    this.#wanted = seeds;
    this.#arrangedAt = performance.now();
    this.#arranger.arrange(seeds);
  }

  look(filter: Filter, selected: string | null, noneLabel: string): void {
    this.#filter = filter;
    this.#selected = selected;
    this.#noneLabel = noneLabel;
    this.#restyle();
  }

  /** The theme has changed. */
  repaint(): void {
    this.#palette = readPalette();
    this.#restyle();
  }

  touch(id: string): void {
    if (this.#marks.indexOf(id) < 0 && this.#groups.indexOf(id) < 0) return;
    this.#ripples.add(id, performance.now());
    this.#animate();
  }

  /** Looks at an entity; at once or, when it has no place yet, as soon as it has one. */
  flyTo(id: string): void {
    this.#awaited = id;
    const place = this.#placeOf(id);
    if (!place || this.#wanted !== this.#seeds) return;
    this.#awaited = null;
    const [x, y, r] = place;
    this.#camera.isFree = false;
    const zoom = Math.min(
      Math.log2(CLOSE / Math.max(r, 0.5)),
      this.#groups.indexOf(id) >= 0 ? this.#whole().zoom + 2 : MAX_ZOOM,
    );
    this.#fly({ target: [x, y, 0], zoom: Math.max(zoom, this.#whole().zoom) });
  }

  /** Moves as little as is needed for an entity to be in sight. */
  reveal(id: string): void {
    const place = this.#placeOf(id);
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

  /** The entity next to the selected one in a direction; the middle one when there is none. */
  next(dx: number, dy: number): string | null {
    const from = this.#selected === null ? null : this.#placeOf(this.#selected);
    const at = neighbour(this.#marks.current, from ?? null, dx, dy);
    return this.#seeds?.marks[at]?.item.id ?? null;
  }

  at(x: number, y: number): string | null {
    if (!this.#seeds) return null;
    const scale = 2 ** this.#camera.look.zoom;
    const { target } = this.#camera.look;
    const mapX = target[0] + (x - this.#size.width / 2) / scale;
    const mapY = target[1] + (y - this.#size.height / 2) / scale;
    const mark = nearest(this.#marks.current, mapX, mapY, REACH / scale);
    if (mark >= 0) return this.#seeds.marks[mark]?.item.id ?? null;
    const group = this.#seeds.groups[nearest(this.#groups.current, mapX, mapY, 0)];
    return group?.isEntity ? group.id : null;
  }

  hover(x: number, y: number): void {
    const id = this.at(x, y);
    if (id !== this.#hovered) {
      this.#hovered = id;
      this.#schedule();
    }
    this.events.onHover(id === null ? null : { id, x, y });
  }

  leave(): void {
    if (this.#hovered !== null) this.#schedule();
    this.#hovered = null;
    this.events.onHover(null);
  }

  /** Where an entity is in the picture, in pixels, for tests and for what is put beside it. */
  pixelOf(id: string): { x: number; y: number } | null {
    const place = this.#placeOf(id);
    if (!place) return null;
    return pixelIn(this.#camera.look, this.#size, place[0], place[1]);
  }

  #place(asked: Seeds, arrangement: Arrangement) {
    const now = this.isCalm() || this.#seeds === null ? null : performance.now();
    // Statuses may have changed while the worker was at it.
    const seeds = this.#wanted && samePlaces(this.#wanted, asked) ? this.#wanted : asked;
    this.#seeds = seeds;
    this.#arrangement = arrangement;
    this.#marks.moveTo(
      seeds.marks.map(({ key }) => key),
      arrangement.marks,
      now,
    );
    this.#groups.moveTo(
      seeds.groups.map(({ id }) => id),
      arrangement.groups,
      now,
    );
    if (this.#camera.isFree) this.#camera.flyTo(this.#whole(), now);
    this.#restyle();
    if (this.#awaited !== null) this.flyTo(this.#awaited);
  }

  /** Where an entity is now, on its way to where it belongs: x, y and radius. */
  #placeNow(id: string): Float32Array | null {
    const motion = this.#motionOf(id);
    const at = motion.indexOf(id);
    return at < 0 ? null : motion.current.subarray(at * 3, at * 3 + 3);
  }

  /** Where it belongs. */
  #placeOf(id: string): [number, number, number] | null {
    const motion = this.#motionOf(id);
    const at = motion.indexOf(id);
    return at < 0 ? null : motion.target(at);
  }

  #motionOf(id: string): Motion {
    return this.#marks.indexOf(id) >= 0 ? this.#marks : this.#groups;
  }

  #whole(): Look {
    return wholeOf(this.#arrangement?.bounds ?? [-50, -50, 50, 50], this.#size.width, this.#size.height);
  }

  #fly(look: Look) {
    this.#camera.flyTo(look, this.isCalm() ? null : performance.now());
    this.#schedule();
  }

  #restyle() {
    this.#isStyled = false;
    this.#schedule();
  }

  /** The picture may have changed. */
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
    const seeds = this.#seeds;
    if (!seeds) return;
    if (this.#isStale) this.#redraw(now, seeds);
    const placeOf = (key: string) => this.#placeNow(key);
    const { look } = this.#camera;
    const hasRipples = this.#ripples.paint(now, placeOf, look, this.#size, this.#palette.accent, this.isCalm());
    if (this.#isMoving) this.#schedule();
    else if (hasRipples) this.#animate();
  }

  #redraw(now: number, seeds: Seeds) {
    this.#isStale = false;
    const hasMoved = [this.#marks.step(now), this.#groups.step(now)].includes(true);
    this.#camera.step(now);
    const before = this.#style;
    // Few events change how anything looks. Bars are numbers, of which some always have changed.
    const hasBars = !this.#isStyled && seeds.layer === 'nodes';
    if (!this.#isStyled) this.#style = sameLook(before, styleOf(seeds, this.#layers, this.#palette, this.#filter));
    this.#isStyled = true;
    const isSame = this.#style === before && !hasMoved && this.#drawn.marks?.places === this.#marks.current;
    if (!isSame || hasBars) Object.assign(this.#drawn, this.#stillOf(seeds));
    this.#label(seeds);
    this.#ring();
    this.#paint();
    if (!this.#isSketched) this.#finish();
  }

  /** Has the picture drawn if anything in it is not as it was drawn last. */
  #paint() {
    const drawing = { ...(this.#drawn as Drawing), palette: this.#palette };
    const seen = [...Object.values(drawing), this.#painter, this.#camera.look, this.#size];
    if (seen.length === this.#seen.length && seen.every((value, at) => value === this.#seen[at])) return;
    this.#seen = seen;
    this.#painter.paint(drawing, this.#camera.look, this.#size);
  }

  /** After the first picture, the one that can be moved: it takes over when it shows the same. */
  async #finish() {
    this.#isSketched = true;
    this.events.onSketch();
    // Compiling shaders holds up the frames before it: the first one is to be on the screen by then.
    for (let frame = 0; frame < FRAMES_ON_WAY; frame++) await new Promise(requestAnimationFrame);
    try {
      // It may be gone where the server was replaced meanwhile.
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
    return this.#marks.isMoving || this.#groups.isMoving || this.#camera.isFlying;
  }

  /** What does not change from frame to frame while nothing moves. */
  #stillOf({ layer, marks: seeds }: Seeds): Partial<Drawing> {
    const style = this.#style;
    if (!style) return {};
    const places = this.#marks.current;
    const marks: Marks = { places, shapes: style.shapes, colours: style.colours };
    const groups: Circles = { places: this.#groups.current, fill: style.fill, line: style.line };
    const orbits = this.#marks.isMoving ? new Float32Array() : (this.#arrangement?.rings ?? new Float32Array());
    const still = { groups, orbits, marks, markScale: 2, bars: null, badges: null };
    if (layer !== 'nodes') return still;
    const nodes = this.#layers?.nodes?.items ?? [];
    const isWhole = nodes.length === seeds.length;
    const alpha = (at: number) => style.colours[at * 4 + 3] ?? 255;
    const corners = places.slice();
    for (let at = 0; at < corners.length; at += 3) {
      const r = places[at + 2] ?? 0;
      corners[at] = (places[at] ?? 0) + r * 0.5;
      corners[at + 1] = (places[at + 1] ?? 0) - r * 0.5;
    }
    return {
      ...still,
      markScale: Math.SQRT2,
      bars: isWhole ? barsOf(nodes, places, this.#palette, alpha) : null,
      badges: { places: corners, shapes: seeds.map(({ item }) => shapeOf(item.status)), colours: style.badge },
    };
  }

  #ring() {
    const rings: Ring[] = [];
    const palette = this.#palette;
    const add = (id: string, grown: number, colour: Ring['colour'], width: number) => {
      const [x, y, r] = Array.from(this.#placeNow(id) ?? []);
      if (x === undefined || y === undefined || r === undefined) return;
      rings.push({ x, y, radius: around(r, grown), colour, width });
    };
    if (this.#seeds?.layer === 'agents' || this.#seeds?.layer === 'city') {
      for (const { id, current_run } of this.#layers?.agents?.items ?? []) {
        if (current_run) add(id, 0.3, [...palette.accent, 255], 1.5);
      }
    }
    if (this.#hovered !== null) add(this.#hovered, 0.15, [...palette.ink, 150], 1.5);
    if (this.#selected !== null) add(this.#selected, 0.3, [...palette.ink, 255], 2.5);
    this.#keep('rings', rings);
  }

  #label(seeds: Seeds) {
    const labels: Label[] = labelsOf(
      seeds,
      this.#marks.current,
      this.#groups.current,
      this.#camera.look,
      this.#size,
      this.#noneLabel,
      this.#widthOf,
    );
    this.#keep('labels', labels);
  }

  /** Takes over a list that says something else than the last: what is the same keeps its identity, and is not drawn again. */
  #keep(name: 'labels' | 'rings', list: Label[] | Ring[]) {
    const text = JSON.stringify(list);
    if (text === this.#texts[name]) return;
    this.#texts[name] = text;
    Object.assign(this.#drawn, { [name]: list });
  }
}
