/** Painter interface: a 2D canvas for the first frame, deck.gl afterwards. */

import type { ViewState } from './camera';
import type { Drawing } from './drawing';

export interface Size {
  width: number;
  height: number;
}

export interface Painter {
  /** Draws now or in the next frame. Unchanged parts of the drawing have the same identity as before. */
  paint(drawing: Drawing, viewState: ViewState, size: Size): void;
  close(): void;
}
