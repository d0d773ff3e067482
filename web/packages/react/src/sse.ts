/** Stream connection over server-sent events, for networks that block WebSockets. */

import type { Connection, ConnectionEnd, ConnectionEvents } from './connection.js';

/**
 * Opens a connection by `fetch` instead of `EventSource`, which hides the HTTP status, reconnects by itself, and
 * mixes frames of the kind `error` with its own error events.
 */
export function openEventStream(url: URL, events: ConnectionEvents): Connection {
  const abort = new AbortController();
  const { signal } = abort;
  const end = (reason: ConnectionEnd) => signal.aborted || events.end(reason);
  readEvents(url, signal, events).then(end, (error) => end({ code: 1006, reason: String(error) }));
  return { close: () => abort.abort() };
}

async function readEvents(url: URL, signal: AbortSignal, events: ConnectionEvents): Promise<ConnectionEnd> {
  const response = await fetch(url, { headers: { accept: 'text/event-stream' }, signal });
  const { ok, status, headers, body } = response;
  if (!ok || !body) {
    const retryMs = Number(headers.get('retry-after')) * 1000;
    return {
      code: 1006,
      reason: `the server answered ${status}`,
      isRejected: [400, 410].includes(status),
      retryMs,
    };
  }
  events.open();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  // Parses `data:` lines (WHATWG HTML, 9.2.6). Each frame is one such line and repeats what the event's other fields say.
  // Chunks are collected until the line ends, so that each chunk of a large snapshot is scanned once.
  let line: string[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { code: 1006, reason: '' };
    const [first = '', ...more] = value.split('\n');
    line.push(first);
    for (const next of more) {
      const whole = line.join('');
      line = [next];
      // A previous frame of the same chunk may have closed the connection.
      if (whole.startsWith('data:') && !signal.aborted) events.message(whole.slice(5));
    }
  }
}
