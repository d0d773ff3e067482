/** One-time commands to the scene that are not state, e.g. a camera flight or a ripple. */

type Listener<T> = (value: T) => void;

function signal<T>() {
  const listeners = new Set<Listener<T>>();
  return {
    send(value: T): void {
      for (const listener of [...listeners]) listener(value);
    },
    listen(listener: Listener<T>): () => void {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
  };
}

/** Moves the camera to the entity with this id. */
export const flights = signal<string>();
/** Shows ripples at the entities with these ids. */
export const ripples = signal<readonly string[]>();
/** A request that the server rejected with this status, 401 or 403. */
export const denials = signal<number>();
/** Zoom and fit commands. */
export const moves = signal<Move>();

export type Move = 'left' | 'right' | 'up' | 'down' | 'in' | 'out' | 'fit';
