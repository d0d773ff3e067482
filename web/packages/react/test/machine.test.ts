import { expect, test } from 'vitest';
import { isFinal, next, type State, signals, table } from '../src/machine.js';

const states = Object.keys(table) as State[];
const cells = states.flatMap((from) => signals.map((signal) => ({ from, signal, to: next(from, signal) })));

test('every state handles every signal', () => {
  expect(cells).toHaveLength(6 * 9);
  for (const { to } of cells) expect([...states, null]).toContain(to);
});

test('every state but idle is reachable and left by stop', () => {
  for (const { from, signal, to } of cells) if (signal === 'stop') expect(to).toBe(from === 'idle' ? null : 'idle');
  const reached = new Set<State | null>(['idle']);
  for (let size = 0; size < reached.size; ) {
    size = reached.size;
    for (const { from, to } of cells) if (reached.has(from)) reached.add(to);
  }
  reached.delete(null);
  expect([...reached].sort()).toEqual([...states].sort());
});

test('after a rejection only restart connects again', () => {
  const ways = cells.filter(({ from, to }) => from === 'failed' && to === 'connecting').map(({ signal }) => signal);
  expect(ways).toEqual(['restart']);
});

test.each([1000, 1001, 1006, 1011, 1012, 4000, 4008, 4012, 4499, 5000])('close code %i is retryable', (code) => {
  expect(isFinal(code)).toBe(false);
});

test.each([1002, 1003, 1007, 1008, 1009, 4500, 4999])('close code %i is permanent', (code) => {
  expect(isFinal(code)).toBe(true);
});
