import { expect, test } from 'vitest';
import { advance, type Pace } from '../src/replay/playback';

const log = { from: 1000, to: 100_000 };
const pace = (change: Partial<Pace> = {}): Pace => ({ time: 10_000, speed: 10, direction: 1, loop: null, ...change });

test('the moment advances by the speed, forwards and backwards', () => {
  expect(advance(pace(), 100, log, log)).toEqual({ time: 11_000, state: 'playing' });
  expect(advance(pace({ speed: 600 }), 50, log, log)).toEqual({ time: 40_000, state: 'playing' });
  expect(advance(pace({ direction: -1 }), 100, log, log)).toEqual({ time: 9000, state: 'playing' });
});

test('the playback waits where events are not loaded', () => {
  const covered = { from: 9500, to: 10_500 };
  expect(advance(pace(), 100, covered, log)).toEqual({ time: 10_500, state: 'waiting' });
  expect(advance(pace({ direction: -1 }), 100, covered, log)).toEqual({ time: 9500, state: 'waiting' });
  expect(advance(pace(), 1e6, covered, log)).toEqual({ time: 10_500, state: 'waiting' });
});

test('the moment never goes back to an edge behind it', () => {
  expect(advance(pace(), 100, { from: 1000, to: 9000 }, log)).toEqual({ time: 10_000, state: 'waiting' });
});

test('the playback ends at the begin of the log and at the present', () => {
  expect(advance(pace(), 1e6, log, log)).toEqual({ time: 100_000, state: 'ended' });
  expect(advance(pace({ direction: -1 }), 1e6, log, log)).toEqual({ time: 1000, state: 'ended' });
});

test('a repeated span begins again at its other end', () => {
  const loop = { from: 5000, to: 12_000 };
  expect(advance(pace({ loop }), 100, log, log)).toEqual({ time: 11_000, state: 'playing' });
  expect(advance(pace({ loop }), 200, log, log)).toEqual({ time: 5000, state: 'playing' });
  expect(advance(pace({ loop, direction: -1 }), 600, log, log)).toEqual({ time: 12_000, state: 'playing' });
});
