/**
 * Provides the live map to the views, throttled: an event renders only this component; views render a few times per
 * second.
 */

import type { EventFrame, Layers, MapState } from '@living-map/react';
import {
  createContext,
  type ReactNode,
  useContext,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import { useSession } from './access';
import { type NetworkState, networkState } from './network/state';
import { ripples } from './signals';
import { useSources } from './sources';
import { getStream } from './stream';
import { touchedBy } from './touched';
import { useTravel } from './travel';

/** Minimum interval between updates of the map and of the event lists (ms). */
const LAYERS_MS = 120;
const EVENTS_MS = 300;
/** Interval at which activity ages when nothing changes (ms). */
const AGE_MS = 5000;
/** Averaging window of the event rate (s). */
const RATE_SECONDS = 5;

export interface Connection extends Pick<MapState, 'connectionStatus' | 'error' | 'isStale'> {
  /** Reconnects immediately from the cursor. */
  reconnect: () => void;
}

const LayersContext = createContext<Layers | null>(null);
const EventsContext = createContext<readonly EventFrame[]>([]);
const ConnectionContext = createContext<Connection>({
  connectionStatus: 'connecting',
  error: null,
  isStale: false,
  reconnect: () => {},
});
const RateContext = createContext(0);
const NetworkContext = createContext<NetworkState>(networkState(null, [], 0));

export function Live({ children }: { children: ReactNode }) {
  // One stream per session.
  const { number } = useSession();
  const stream = useMemo(() => getStream(number), [number]);
  const { reconnect } = stream;
  const { snapshot, events, connectionStatus, error, isStale } = useSyncExternalStore(
    stream.subscribe,
    stream.getState,
    stream.getState,
  );
  useEffect(() => {
    stream.start();
    return () => stream.stop();
  }, [stream]);
  const { at, layers: past, isLoading } = useTravel();
  const layers = useThrottled(snapshot?.layers ?? null, LAYERS_MS);
  const recent = useThrottled(events, EVENTS_MS);
  const connection = useMemo(
    () => ({ connectionStatus, error, isStale, reconnect }),
    [connectionStatus, error, isStale, reconnect],
  );
  const rate = useRate(events, at === null);
  // Everything stays until the map of the selected moment is loaded.
  const last = useRef({ layers: null as Layers | null, network: networkState(null, [], 0) });
  const isPending = at !== null && isLoading;
  const shown = isPending ? last.current.layers : at === null ? layers : past;
  // Between two attempts too: a map that was received and is not followed any more is not current.
  const isLost = isStale || connectionStatus === 'error';
  const moment = useMoment(at, isLost);
  const sources = useSources();
  // Current upstreams say nothing about the past.
  const network = useMemo(
    () => (isPending ? last.current.network : networkState(shown, at === null ? sources : [], moment)),
    [isPending, shown, sources, at, moment],
  );
  useEffect(() => {
    last.current = { layers: shown, network };
  }, [shown, network]);
  // Before the effects that read colours.
  useLayoutEffect(() => {
    document.documentElement.toggleAttribute('data-lost', isLost);
  }, [isLost]);
  return (
    <ConnectionContext value={connection}>
      <RateContext value={rate}>
        <EventsContext value={recent}>
          <LayersContext value={shown}>
            <NetworkContext value={network}>{children}</NetworkContext>
          </LayersContext>
        </EventsContext>
      </RateContext>
    </ConnectionContext>
  );
}

/** Displayed layers: live, or those of the selected moment. */
export const useLayers = (): Layers | null => useContext(LayersContext);
/** Condition of everything that is displayed. */
export const useNetwork = (): NetworkState => useContext(NetworkContext);
/** Recent events, newest first. */
export const useEvents = (): readonly EventFrame[] => useContext(EventsContext);
export const useConnection = (): Connection => useContext(ConnectionContext);
/** Whether what is displayed as live is not followed any more. */
export function useIsLost(): boolean {
  const { isStale, connectionStatus } = useConnection();
  return isStale || connectionStatus === 'error';
}
/** Time at which the live map was last followed (ms), while it is not; `null`: it is, or a moment of the past is shown. */
export function useAsOf(): number | null {
  const { moment } = useNetwork();
  const { at } = useTravel();
  return useIsLost() && at === null ? moment : null;
}
/** Events per second. */
export const useEventRate = (): number => useContext(RateContext);

/** Throttled `value`: a change after a pause applies at once, further ones at most every `ms`. */
export function useThrottled<T>(value: T, ms: number): T {
  const [shown, setShown] = useState(value);
  const latest = useRef(value);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const shownAt = useRef(Number.NEGATIVE_INFINITY);
  latest.current = value;
  useEffect(() => {
    if (Object.is(value, shown) || timer.current !== undefined) return;
    const wait = Math.max(0, shownAt.current + ms - performance.now());
    timer.current = setTimeout(() => {
      timer.current = undefined;
      shownAt.current = performance.now();
      setShown(latest.current);
    }, wait);
  }, [value, shown, ms]);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      timer.current = undefined;
    },
    [],
  );
  return shown;
}

/**
 * The displayed moment (ms): that of time travel in whole seconds, which playback does not change with each update, or now;
 * the last one known while the connection is lost.
 */
function useMoment(at: string | null, isLost: boolean): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    setNow(Date.now());
    if (isLost) return;
    const timer = setInterval(() => setNow(Date.now()), AGE_MS);
    return () => clearInterval(timer);
  }, [isLost]);
  return at === null ? now : Math.floor(Date.parse(at) / 1000) * 1000;
}

/** Computes the event rate and sends ripples for new events. */
function useRate(events: readonly EventFrame[], isLive: boolean): number {
  const last = useRef<string | null>(null);
  const counts = useRef<number[]>([0]);
  const [rate, setRate] = useState(0);
  useEffect(() => {
    const known = last.current;
    last.current = events[0]?.cursor ?? null;
    const end = events.findIndex(({ cursor }) => cursor === known);
    // Events of the first render are not new.
    const fresh = known === null ? [] : events.slice(0, end < 0 ? events.length : end);
    counts.current[0] = (counts.current[0] ?? 0) + fresh.length;
    if (!isLive || document.hidden || fresh.length === 0) return;
    ripples.send(fresh.flatMap(touchedBy));
  }, [events, isLive]);
  useEffect(() => {
    const timer = setInterval(() => {
      setRate(counts.current.reduce((sum, count) => sum + count, 0) / counts.current.length);
      counts.current = [0, ...counts.current.slice(0, RATE_SECONDS - 1)];
    }, 1000);
    return () => clearInterval(timer);
  }, []);
  return rate;
}
