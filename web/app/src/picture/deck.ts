/** deck.gl painter: interactive pan and zoom with thousands of marks. */

import { Deck, OrthographicView } from '@deck.gl/core';
import { makeAtlas } from './atlas';
import { MAX_ZOOM, MIN_ZOOM, type ViewState } from './camera';
import { draw } from './draw';
import type { Drawing } from './drawing';
import type { Painter } from './painter';

export interface DeckEvents {
  /** The user has moved the camera. */
  onViewStateChange: (viewState: ViewState) => void;
  /** The last drawing has been rendered completely. */
  onDraw: () => void;
}

/** @throws when the browser has no WebGL 2 */
export function deckPainter(host: HTMLDivElement, { onViewStateChange, onDraw }: DeckEvents): Painter {
  if (!document.createElement('canvas').getContext('webgl2')) throw new Error('no WebGL 2');
  const atlas = makeAtlas();
  const deck = new Deck({
    parent: host,
    // Circles, icons and text are antialiased by their shaders; without a GPU, multisampling would be most of the cost.
    deviceProps: { type: 'webgl', webgl: { antialias: false } },
    views: new OrthographicView({ id: 'map', flipY: true }),
    controller: {
      keyboard: false,
      dragRotate: false,
      doubleClickZoom: false,
      inertia: 250,
      scrollZoom: { speed: 0.02, smooth: false },
    },
    onViewStateChange: ({ viewState }) => {
      // The controller reports one zoom per axis; here they are equal.
      const { target, zoomX } = viewState as unknown as ViewState & { zoomX: number };
      onViewStateChange({ target, zoom: zoomX });
      return viewState;
    },
    // deck.gl makes its canvas a tab stop; the keyboard belongs to the host, which handles it.
    onLoad: () => {
      for (const canvas of host.querySelectorAll('canvas')) canvas.removeAttribute('tabindex');
    },
    // Shaders compile asynchronously: until all layers are loaded, a frame is incomplete.
    onAfterRender: () => {
      const layers = deck.props.layers as { isLoaded?: boolean }[];
      if (isAsked && layers.every((layer) => layer?.isLoaded !== false)) onDraw();
    },
    layers: [],
  });
  let isAsked = false;
  return {
    paint(drawing: Drawing, viewState: ViewState) {
      isAsked = true;
      deck.setProps({ viewState: viewStateOf(viewState), layers: draw(drawing, atlas) });
    },
    close: () => deck.finalize(),
  };
}

const viewStateOf = ({ target, zoom }: ViewState) =>
  ({ target, zoom, zoomX: zoom, zoomY: zoom, minZoom: MIN_ZOOM, maxZoom: MAX_ZOOM }) as never;
