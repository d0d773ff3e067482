// @vitest-environment jsdom
import { act } from '@testing-library/react';
import { StrictMode } from 'react';
import { hydrateRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { useEntity, useLivingMapFull } from '../src/index.js';
import { fakeServer, last, open, snapshot } from './support.js';

beforeEach(fakeServer);
afterEach(() => {
  vi.runOnlyPendingTimers();
  vi.useRealTimers();
});

function Page() {
  const { isLoading, isStale } = useLivingMapFull();
  const name = useEntity('agent:a')?.data.name ?? 'nobody';
  return <p>{`${isLoading ? 'loading' : 'live'} ${isStale} ${name}`}</p>;
}

test('server-rendered markup hydrates, also with a loaded map', async () => {
  const complain = vi.spyOn(console, 'error').mockImplementation(() => {});
  const html = renderToString(<Page />);
  expect(html).toBe('<p>loading false nobody</p>');
  const roots = [0, 1].map(() => {
    const container = document.body.appendChild(document.createElement('div'));
    container.innerHTML = html;
    let root: Root | undefined;
    act(() => {
      root = hydrateRoot(
        container,
        <StrictMode>
          <Page />
        </StrictMode>,
      );
    });
    // The second root finds a client that already has a map.
    act(() => {
      last().send(snapshot('e.1'));
      vi.advanceTimersByTime(16);
    });
    expect(container.textContent).toBe('live false agent:a');
    return root;
  });
  expect(open()).toHaveLength(1);
  expect(complain).not.toHaveBeenCalled();
  act(() => {
    for (const root of roots) root?.unmount();
  });
});
