/** Time travel: follows the moment in the address, and the commands of playback. */

import type { Span } from './replay/playback';
import { errorText, getTravel, setTravel } from './replay/state';
import { getView, setView, subscribe } from './view';

export { type TravelError, useTravel } from './replay/state';

export const SPEEDS = [1, 5, 10, 60, 600] as const;

type Player = typeof import('./replay/player');
let player: Promise<Player> | null = null;

/** Loads the player, which a live map does not need, and runs a command. */
async function command(run: (player: Player) => unknown): Promise<void> {
  try {
    player ??= import('./replay/player');
    await run(await player);
  } catch (error) {
    // The chunk may no longer exist after a server upgrade.
    player = null;
    setTravel({ isLoading: false, isPlaying: false, error: { what: 'moment', text: errorText(error) } });
  }
}

function follow() {
  const { at } = getView();
  if (at === getTravel().at) return;
  if (player === null) setTravel({ at, restingAt: at, isLoading: at !== null });
  command((player) => player.follow(getView().at));
}

/** @param isStep whether to add a history entry, so that Back returns here */
export function go(moment: number, isStep = true): void {
  if (moment >= Date.now()) live();
  else setView({ at: new Date(moment).toISOString() }, isStep);
}

export const live = (): void => setView({ at: null });

/** @param since start of the playback when the map is live */
export const play = (since: number): Promise<void> => command((player) => player.play(since));

/** Plays a span again and again, from its begin. */
export const playSpan = (span: Span): Promise<void> => command((player) => player.playSpan(span));

export const pause = (): void => {
  if (getTravel().isPlaying) command((player) => player.pause());
};

/** Shows the next or previous event. */
export const step = (direction: 1 | -1): Promise<void> => command((player) => player.step(direction));

export const setSpeed = (speed: number): void => setTravel({ speed });

export const setBackwards = (isBackwards: boolean): void => setTravel({ isBackwards });

export const setLoop = (loop: Span | null): void => setTravel({ loop });

subscribe(follow);
if (typeof window !== 'undefined') follow();
