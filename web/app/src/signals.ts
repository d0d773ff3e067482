/** Words to the picture that are no state: a flight, a ripple. */

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

/** Look at the entity with this id. */
export const flights = signal<string>();
/** Something happened to the entities with these ids. */
export const ripples = signal<readonly string[]>();
/** Arrows, zoom and the like, from the keyboard to the picture. */
export const moves = signal<Move>();

export type Move = 'left' | 'right' | 'up' | 'down' | 'in' | 'out' | 'fit';
