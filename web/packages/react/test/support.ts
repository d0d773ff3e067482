/** Fake server side of the stream, controlled by the test, as the global `WebSocket`. */

import { vi } from 'vitest';
import type { Change, Layers, Snapshot } from '../src/index.js';

export class FakeSocket {
  static all: FakeSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  closed = false;
  readonly url: URL;

  constructor(url: string) {
    this.url = new URL(url);
    FakeSocket.all.push(this);
  }

  close() {
    this.closed = true;
  }

  get cursor() {
    return this.url.searchParams.get('cursor');
  }

  send(frame: unknown) {
    this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
  }

  end(code: number) {
    this.onclose?.({ code, reason: '' });
  }
}

/** Installs fake timers, the fake WebSocket, and no network for requests; back-off delays have their maximum. */
export function fakeServer() {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(1);
  FakeSocket.all = [];
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('no network')));
}

export const sockets = () => FakeSocket.all;
export const open = () => FakeSocket.all.filter((socket) => !socket.closed);

export function last(): FakeSocket {
  const socket = FakeSocket.all.at(-1);
  if (!socket) throw new Error('no connection');
  return socket;
}

export const agent = (id: string, status = 'online') => ({ id, name: id, status, usage: { llm_calls_24h: 0 } });

export function snapshot(cursor: string, agents: unknown[] = [agent('agent:a'), agent('agent:b')]) {
  const layers = {
    city: { items: [], channels: [] },
    space: { planets: [], nodes: [] },
    nodes: { items: [{ id: 'node:1', name: 'one' }] },
    agents: { items: agents, total_agents: agents.length },
  } as unknown as Layers;
  const data = { generated_at: '2026-01-19T12:00:00Z', layers, meta: { cursor, sources: [] } } as unknown as Snapshot;
  return { kind: 'snapshot', data };
}

export function event(cursor: string, ...changes: Change[]) {
  const time = '2026-01-19T12:00:01Z';
  return { kind: 'event', event_type: 'agent.event.status', timestamp: time, payload: {}, cursor, id: cursor, changes };
}

export const setStatus = (id: string, status: string): Change => ({
  op: 'upsert',
  layer: 'agents',
  type: 'agent',
  id,
  patch: { status },
});
