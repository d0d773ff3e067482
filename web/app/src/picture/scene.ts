/**
 * Scene of the map: layout, styles, camera and animation. Outside React, so that an event costs one frame and no
 * component render. Draws only after changes.
 */

import type { Layers } from '@living-map/react';
import { type Filter, NO_FILTER } from '../filter';
import { arrange } from '../layout/arrange';
import { type Diagram, diagramOf, hasSameLayout } from '../layout/diagram';
import { layoutInputOf } from '../layout/input';
import { type CameraView, isSameCamera, type View } from '../view';
import {
  Camera,
  cameraViewOf,
  centredOn,
  fitAll,
  fitBounds,
  type Insets,
  mapIn,
  NO_INSETS,
  pixelIn,
  type ViewState,
  zoomTo,
} from './camera';
import { CanvasPainter } from './canvas-painter';
import { Composer, type Subject } from './composer';
import type { Drawing } from './drawing';
import type { Painter, Size } from './painter';
import { readPalette } from './palette';
import { Positions } from './positions';
import { Ripples } from './ripples';
import type { Conditions } from './style';

/** Minimum interval between layouts of a layer, so that one animation ends before the next starts (ms). */
const LAYOUT_MS = 1500;
/** Picking tolerance (px). */
const REACH = 6;
/** An entity closer to the canvas edge is centred when revealed (px). */
const EDGE = 40;
/** Number of frames that may be in the pipeline before the first one is presented. */
const PIPELINE_FRAMES = 3;

export interface Target {
  id: string;
  x: number;
  y: number;
}

export interface SceneEvents {
  /** The hovered entity with its canvas position; `null` if there is none. */
  onHover: (target: Target | null) => void;
  onOpen: (id: string | null) => void;
  /** The camera was moved; `null`: it shows the whole layer. */
  onCamera: (camera: CameraView | null) => void;
  /** The first drawing has been painted on the 2D canvas. */
  onFirstPaint: () => void;
  /** deck.gl has rendered a complete frame; `isStill`: no animation is running. */
  onDraw: (isStill: boolean) => void;
  /** deck.gl is not available in this browser. */
  onFail: () => void;
}

export class Scene {
  #canvasPainter: CanvasPainter | null;
  #painter: Painter;
  readonly #camera = new Camera();
  readonly #positions = new Positions();
  readonly #composer = new Composer();
  readonly #ripples: Ripples;
  #subject: Subject = {
    layers: null,
    conditions: { conditionOf: () => 'idle', troubleIn: () => null },
    palette: readPalette(),
    filter: NO_FILTER,
    selected: null,
    hovered: null,
    noneLabel: '',
  };
  /** Entity to fly to once it has a position. */
  #pendingFlight: string | null = null;
  /** Entity that the camera has flown to and still shows. */
  #focus: string | null = null;
  /** Camera of the address that is still shown, or waits for the first layout. */
  #restored: CameraView | null = null;
  /** The last reported camera. */
  #reported: CameraView | null = null;
  /** Inputs of the last paint. */
  #painted: unknown[] = [];
  #frame = 0;
  /** Whether the next frame must redraw the map, not only the ripples. */
  #isStale = false;
  /** Time of the last layout request, and the timer of the next one. */
  #arrangedAt = Number.NEGATIVE_INFINITY;
  #waiting: ReturnType<typeof setTimeout> | undefined;
  #size: Size = { width: 1, height: 1 };
  /** Space covered by panels. */
  #insets: Insets = NO_INSETS;
  readonly #sizes: ResizeObserver;
  #hasPainted = false;
  #isClosed = false;

  /** @param reducedMotion whether the user prefers reduced motion */
  constructor(
    private readonly host: HTMLDivElement,
    private readonly events: SceneEvents,
    private readonly reducedMotion: () => boolean,
  ) {
    this.#ripples = new Ripples(host);
    this.#canvasPainter = new CanvasPainter(host);
    this.#painter = this.#canvasPainter;
    this.#resize();
    this.#sizes = new ResizeObserver(() => this.#resize());
    this.#sizes.observe(host);
  }

  close(): void {
    this.#isClosed = true;
    this.#sizes.disconnect();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#waiting);
    this.#canvasPainter?.close();
    this.#painter.close();
    this.#ripples.close();
  }

  /** Sets the map, the conditions of its entities and the displayed layer. */
  show(layers: Layers | null, conditions: Conditions, layer: View['layer']): void {
    // Do not start with an empty map: the first one would be animated from it.
    if (layers === null && this.#positions.diagram === null) return;
    this.#subject.layers = layers;
    this.#subject.conditions = conditions;
    const diagram = diagramOf(layers, layer);
    const shown = this.#positions.diagram;
    if (shown !== null && shown.layer !== layer) {
      // The address of another layer has no camera, or its own one, which follows.
      this.#focus = this.#restored = this.#reported = null;
      this.#camera.isFree = true;
    }
    if (hasSameLayout(shown, diagram)) {
      this.#positions.replace(diagram);
      this.#schedule();
      return;
    }
    const wait = this.#arrangedAt + LAYOUT_MS - performance.now();
    clearTimeout(this.#waiting);
    if (shown?.layer === layer && wait > 0) {
      // The last layout stays until then.
      this.#waiting = setTimeout(() => this.show(this.#subject.layers, this.#subject.conditions, layer), wait);
      return;
    }
    this.#arrangedAt = performance.now();
    this.#applyLayout(diagram);
  }

  setSelection(filter: Filter, selected: string | null, noneLabel: string): void {
    this.#subject = { ...this.#subject, filter, selected, noneLabel };
    this.#schedule();
  }

  /** Sets the space that panels cover; the map keeps fitting into the rest. */
  setInsets(insets: Insets): void {
    const before = this.#insets;
    if ((['left', 'top', 'right', 'bottom'] as const).every((side) => before[side] === insets[side])) return;
    this.#insets = insets;
    if (this.#restored !== null) this.#show(this.#restored, null);
    else if (this.#focus !== null) this.flyTo(this.#focus);
    else if (this.#camera.isFree && this.#positions.diagram !== null) this.#fly(this.#fitView());
    else this.#report();
  }

  /** Shows the camera of the address, unless the scene has reported it itself; `null`: the whole layer. */
  setCamera(camera: CameraView | null): void {
    if (isSameCamera(camera, this.#reported)) return;
    if (camera === null) this.fit();
    else this.#show(camera, this.#positions.diagram === null || this.reducedMotion() ? null : performance.now());
  }

  /** Redraws after a theme change. */
  repaint(): void {
    this.#subject.palette = readPalette();
    this.#schedule();
  }

  touch(id: string): void {
    if (!this.#positions.has(id)) return;
    this.#ripples.add(id, performance.now());
    this.#animate();
  }

  /** Moves the camera to an entity, as soon as it has a position. */
  flyTo(id: string): void {
    this.#pendingFlight = id;
    const position = this.#positions.of(id);
    const bounds = this.#positions.boundsOf(id);
    if (!position && !bounds) return;
    this.#release();
    this.#focus = id;
    this.#camera.isFree = false;
    const whole = this.#fitView().zoom;
    if (bounds) {
      const { zoom } = fitBounds(bounds, this.#size, this.#insets);
      const [left, top, right, bottom] = bounds;
      this.#fly(centredOn([(left + right) / 2, (top + bottom) / 2], Math.max(zoom, whole), this.#insets));
    } else if (position) this.#fly(centredOn(position, Math.max(zoomTo(position), whole), this.#insets));
  }

  /** Shows the whole layer again if the camera still shows `id`. */
  leaveFlight(id: string): void {
    if (this.#pendingFlight === id) this.#pendingFlight = null;
    if (this.#focus === id) this.fit();
  }

  /** Centres an entity unless it is visible already. */
  reveal(id: string): void {
    const position = this.#positions.of(id);
    const pixel = this.pixelOf(id);
    if (!position || !pixel) return;
    const { width, height } = this.#size;
    const { left, top, right, bottom } = this.#insets;
    const isAcross = pixel.x > left + EDGE && pixel.x < width - right - EDGE;
    if (isAcross && pixel.y > top + EDGE && pixel.y < height - bottom - EDGE) return;
    this.#release();
    this.#camera.isFree = false;
    this.#fly(centredOn(position, this.#camera.viewState.zoom, this.#insets));
  }

  fit(): void {
    this.#release();
    this.#camera.isFree = true;
    this.#fly(this.#fitView());
  }

  zoomBy(steps: number): void {
    this.#release();
    this.#camera.isFree = false;
    const { target, zoom } = this.#camera.viewState;
    this.#fly({ target, zoom: zoom + steps });
  }

  /** The nearest entity to the selected one in a direction; the one in the centre if none is selected. */
  next(dx: number, dy: number): string | null {
    return this.#positions.next(this.#subject.selected, dx, dy);
  }

  at(x: number, y: number): string | null {
    const { viewState } = this.#camera;
    const position = mapIn(viewState, this.#size, x, y);
    return this.#positions.at(position.x, position.y, REACH / 2 ** viewState.zoom);
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
    const position = this.#positions.of(id);
    if (!position) return null;
    return pixelIn(this.#camera.viewState, this.#size, position[0], position[1]);
  }

  #applyLayout(diagram: Diagram) {
    const now = this.reducedMotion() || this.#positions.diagram === null ? null : performance.now();
    this.#positions.moveTo(diagram, arrange(layoutInputOf(diagram)), now);
    if (this.#restored !== null) this.#show(this.#restored, null);
    if (this.#camera.isFree) this.#camera.flyTo(this.#fitView(), now);
    this.#schedule();
    if (this.#pendingFlight !== null) this.flyTo(this.#pendingFlight);
  }

  #fitView(): ViewState {
    return fitAll(this.#positions.bounds, this.#size, this.#insets);
  }

  #fly(viewState: ViewState) {
    this.#camera.flyTo(viewState, this.reducedMotion() ? null : performance.now());
    this.#report(viewState);
    this.#schedule();
  }

  /** @param now `null`: without animation */
  #show(camera: CameraView, now: number | null) {
    this.#release();
    this.#restored = camera;
    // Replaces what was reported for a flight that this ends.
    if (!isSameCamera(camera, this.#reported)) this.events.onCamera(camera);
    this.#reported = camera;
    if (this.#positions.diagram === null) return;
    this.#camera.isFree = false;
    this.#camera.flyTo(centredOn([camera.x, camera.y], camera.zoom, this.#insets), now);
    this.#schedule();
  }

  /** Forgets what the camera follows. */
  #release() {
    this.#pendingFlight = null;
    this.#focus = null;
    this.#restored = null;
  }

  /** @param viewState the camera, or where it flies to */
  #report(viewState = this.#camera.viewState) {
    const camera = this.#camera.isFree ? null : cameraViewOf(viewState, this.#insets);
    if (isSameCamera(camera, this.#reported)) return;
    this.#reported = camera;
    this.events.onCamera(camera);
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
    const { diagram } = this.#positions;
    if (!diagram) return;
    if (this.#isStale) this.#redraw(now, diagram);
    const positionOf = (key: string) => this.#positions.now(key);
    const { accent } = this.#subject.palette;
    const hasRipples = this.#ripples.paint(
      now,
      positionOf,
      this.#camera.viewState,
      this.#size,
      accent,
      this.reducedMotion(),
    );
    if (this.#isMoving) this.#schedule();
    else if (hasRipples) this.#animate();
  }

  #redraw(now: number, diagram: Diagram) {
    this.#isStale = false;
    this.#positions.step(now);
    this.#camera.step(now);
    this.#paint(this.#composer.compose(diagram, this.#positions, this.#subject, this.#camera.viewState, this.#size));
    if (!this.#hasPainted) this.#finish();
  }

  /** Paints the drawing if anything has changed since the last paint. */
  #paint(drawing: Drawing) {
    const seen = [...Object.values(drawing), this.#painter, this.#camera.viewState, this.#size];
    if (seen.length === this.#painted.length && seen.every((value, at) => value === this.#painted[at])) return;
    this.#painted = seen;
    this.#painter.paint(drawing, this.#camera.viewState, this.#size);
  }

  /** Loads deck.gl after the first paint; the 2D canvas is removed once deck.gl shows the same. */
  async #finish() {
    this.#hasPainted = true;
    this.events.onFirstPaint();
    // Shader compilation blocks pending frames: wait until the first one has been presented.
    for (let frame = 0; frame < PIPELINE_FRAMES; frame++) await new Promise(requestAnimationFrame);
    try {
      // The chunk may no longer exist after a server upgrade.
      const { deckPainter } = await import('./deck');
      if (this.#isClosed) return;
      this.#painter = deckPainter(this.host, {
        onViewStateChange: (viewState) => {
          this.#release();
          this.#camera.isFree = false;
          this.#camera.set(viewState);
          this.#report();
          this.#schedule();
        },
        onDraw: () => {
          this.#canvasPainter?.close();
          this.#canvasPainter = null;
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
    if (this.#camera.isFree) this.#camera.flyTo(this.#fitView(), null);
    this.#schedule();
  }

  get #isMoving(): boolean {
    return this.#positions.isMoving || this.#camera.isFlying;
  }
}
