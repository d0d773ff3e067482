/**
 * 2D canvas painter for the first frame. Draws the same as deck.gl, which is 250 kB to download and compiles shaders
 * before its first frame.
 */

import { SHAPES, STROKE } from '../ui/shapes';
import type { Bars } from './bars';
import { pixelIn, type ViewState } from './camera';
import { BASELINES, type Circles, css, type Drawing, LEAST, type Marks, OFFSETS, TEXT } from './drawing';
import type { Label } from './labels';
import type { Painter, Size } from './painter';
import type { Palette, Shape } from './palette';

/** View box side of the shapes' paths. */
const SQUARE = 24;
const PATHS = Object.fromEntries(
  Object.entries(SHAPES).map(([name, { path }]) => [name, () => new Path2D(path)]),
) as Record<Shape, () => Path2D>;

export class CanvasPainter implements Painter {
  readonly #canvas = document.createElement('canvas');
  readonly #context: CanvasRenderingContext2D | null;
  readonly #paths: Partial<Record<Shape, Path2D>> = {};

  constructor(host: HTMLElement) {
    this.#canvas.className = 'sketch';
    // Drawn only once or twice: avoids the start-up cost of the GPU.
    this.#context = this.#canvas.getContext('2d', { willReadFrequently: true });
    host.append(this.#canvas);
  }

  close(): void {
    this.#canvas.remove();
  }

  paint(drawing: Drawing, viewState: ViewState, size: Size): void {
    const context = this.#context;
    if (!context) return;
    const ratio = devicePixelRatio;
    this.#canvas.width = Math.round(size.width * ratio);
    this.#canvas.height = Math.round(size.height * ratio);
    const scale = 2 ** viewState.zoom;
    const { x: left, y: top } = pixelIn(viewState, size, 0, 0);
    /** Sets the transform: origin at a map position, scale `unit` (`scale`: map units, 1: px). */
    const at = (x: number, y: number, unit: number) =>
      context.setTransform(unit * ratio, 0, 0, unit * ratio, (left + x * scale) * ratio, (top + y * scale) * ratio);
    at(0, 0, scale);
    const { groups, orbits, marks, markScale, bars, badges, rings, labels, palette } = drawing;
    circles(context, groups, scale);
    context.lineWidth = 1 / scale;
    context.strokeStyle = css(palette.line);
    for (let i = 0; i < orbits.length; i += 3) ring(context, orbits[i], orbits[i + 1], orbits[i + 2]);
    this.#icons(context, marks, markScale, LEAST.mark, scale, at);
    at(0, 0, scale);
    if (bars) lines(context, bars);
    if (badges) this.#icons(context, badges, LEAST.badgeScale, LEAST.badge, scale, at);
    at(0, 0, scale);
    for (const { x, y, radius, colour, width } of rings) {
      context.lineWidth = width / scale;
      context.strokeStyle = css(colour);
      ring(context, x, y, Math.max(radius, LEAST.ring / scale));
    }
    for (const label of labels) {
      at(label.position[0], label.position[1], 1);
      text(context, label, palette);
    }
  }

  #icons(
    context: CanvasRenderingContext2D,
    { positions, shapes, colours }: Marks,
    size: number,
    least: number,
    scale: number,
    at: (x: number, y: number, unit: number) => void,
  ) {
    context.lineWidth = STROKE;
    for (const [mark, shape] of shapes.entries()) {
      const [x = 0, y = 0, r = 0] = positions.subarray(mark * 3, mark * 3 + 3);
      const height = Math.max(least, r * size * scale);
      at(x, y, height / SQUARE);
      context.translate(-SQUARE / 2, -SQUARE / 2);
      this.#paths[shape] ??= PATHS[shape]();
      const colour = css(colours.subarray(mark * 4, mark * 4 + 4));
      if (SHAPES[shape].isFilled) {
        context.fillStyle = colour;
        context.fill(this.#paths[shape]);
      } else {
        context.strokeStyle = colour;
        context.stroke(this.#paths[shape]);
      }
    }
  }
}

function ring(context: CanvasRenderingContext2D, x = 0, y = 0, radius = 0) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
}

function circles(context: CanvasRenderingContext2D, { positions, fill, line }: Circles, scale: number) {
  context.lineWidth = LEAST.groupLine / scale;
  for (let at = 0; at < positions.length / 3; at++) {
    const [x = 0, y = 0, r = 0] = positions.subarray(at * 3, at * 3 + 3);
    context.fillStyle = css(fill.subarray(at * 4, at * 4 + 4));
    context.strokeStyle = css(line.subarray(at * 4, at * 4 + 4));
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}

function lines(context: CanvasRenderingContext2D, { length, from, to, width, colour }: Bars) {
  for (let at = 0; at < length; at++) {
    context.lineWidth = width[at] ?? 1;
    context.strokeStyle = css(colour.subarray(at * 4, at * 4 + 4));
    context.beginPath();
    context.moveTo(from[at * 2] ?? 0, from[at * 2 + 1] ?? 0);
    context.lineTo(to[at * 2] ?? 0, to[at * 2 + 1] ?? 0);
    context.stroke();
  }
}

function text(context: CanvasRenderingContext2D, { text, isGroup, trouble, placement }: Label, palette: Palette) {
  const { ink, muted, ground } = palette;
  const size = isGroup ? TEXT.group : TEXT.mark;
  context.font = `${TEXT.weight} ${size}px ${TEXT.family}`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  const half = size / 2 + TEXT.padding[1];
  const from = BASELINES[placement] === 'bottom' ? -half : BASELINES[placement] === 'top' ? half : 0;
  const middle = from + OFFSETS[placement];
  const width = context.measureText(text).width + 2 * TEXT.padding[0];
  context.fillStyle = css([...ground, TEXT.ground]);
  context.fillRect(-width / 2, middle - half, width, 2 * half);
  context.fillStyle = css(trouble ? palette[trouble] : isGroup ? ink : muted);
  context.fillText(text, 0, middle);
}
