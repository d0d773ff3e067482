// Runs in Node without a DOM, as server rendering does.
import { renderToString } from 'react-dom/server';
import { expect, test, vi } from 'vitest';
import { useEntity, useHistory, useLayer, useLivingMapFull } from '../src/index.js';

test('server rendering opens no connection and shows loading', () => {
  const connect = vi.fn();
  vi.stubGlobal('WebSocket', connect);
  vi.stubGlobal('fetch', connect);
  function Page() {
    const { isLoading, connectionStatus } = useLivingMapFull();
    const parts = [useLayer('agents'), useEntity('agent:a'), useHistory().isLoading];
    return `${isLoading} ${connectionStatus} ${parts.join()}`;
  }
  expect(renderToString(<Page />)).toBe('true connecting ,,true');
  expect(connect).not.toHaveBeenCalled();
});
