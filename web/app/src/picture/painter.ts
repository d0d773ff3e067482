/** Who draws a picture. There is one to begin with, that is there at once, and one that is quick with many frames. */

import type { Look } from './camera';
import type { Drawing } from './drawing';

export interface Size {
  width: number;
  height: number;
}

export interface Painter {
  /** Draws, at once or in the next frame. What has not changed are the same objects; something has. */
  paint(drawing: Drawing, look: Look, size: Size): void;
  close(): void;
}
