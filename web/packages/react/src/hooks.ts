'use client';

import { useCallback, useMemo, useState, useSyncExternalStore } from 'react';
import type { LivingMapClient, LivingMapOptions } from './client.js';
import { type Entity, findEntity } from './entity.js';
import type { Layer, Layers } from './generated.js';
import { keyOf, listen, sharedClient } from './shared.js';
import { EMPTY, type MapState } from './store.js';

export interface LivingMapFull extends MapState {
  /** True until the first snapshot arrives or a connection fails; `error` then says why. */
  isLoading: boolean;
  /** Requests a fresh snapshot; resolves when it has arrived. */
  refetch: () => Promise<void>;
  /** Reconnects immediately from the cursor. */
  reconnect: () => void;
}

/** The live map and its connection state. Renders on every change; for parts of the map use the other hooks. */
export function useLivingMapFull(options: LivingMapOptions = {}): LivingMapFull {
  const { client, state } = useMapState(options, identity);
  return useMemo(() => {
    const { refetch, reconnect } = client;
    const isLoading = state.snapshot === null && state.error === null;
    return { ...state, isLoading, refetch, reconnect };
  }, [client, state]);
}

export interface LivingMapLite extends LivingMapFull {
  selectedLayer: Layer | null;
  setSelectedLayer: (layer: Layer | null) => void;
  selectedEntityId: string | null;
  setSelectedEntityId: (id: string | null) => void;
}

/** {@link useLivingMapFull} with selection state, initially `null`. */
export function useLivingMapLite(options: LivingMapOptions = {}): LivingMapLite {
  const map = useLivingMapFull(options);
  const [selectedLayer, setSelectedLayer] = useState<Layer | null>(null);
  const [selectedEntityId, setSelectedEntityId] = useState<string | null>(null);
  return { ...map, selectedLayer, setSelectedLayer, selectedEntityId, setSelectedEntityId };
}

/** One layer; `null` until loaded. Renders when something in that layer changes. */
export function useLayer<L extends Layer>(layer: L, options: LivingMapOptions = {}): Layers[L] | null {
  const select = useCallback((state: MapState) => state.snapshot?.layers[layer] ?? null, [layer]);
  return useMapState(options, select).state;
}

/**
 * One entity by its canonical id (`agent:…`, `microdao:…`, `channel:…`, `dao:…`, `node:…`); `null` if the map has
 * none. Renders when that entity changes.
 */
export function useEntity(id: string, options: LivingMapOptions = {}): Entity | null {
  const select = useCallback((state: MapState) => findEntity(state.snapshot, id), [id]);
  return useMapState(options, select).state;
}

const identity = (state: MapState) => state;

/** Subscribes to a selection of the shared client's state; `select` must return the same object for the same state. */
function useMapState<T>(
  options: LivingMapOptions,
  select: (state: MapState) => T,
): { client: LivingMapClient; state: T } {
  const key = keyOf(options);
  // `key` represents the options
  const shared = useMemo(() => sharedClient(key, options), [key]);
  const { client } = shared;
  const subscribe = useCallback((listener: () => void) => listen(shared, listener), [shared]);
  const state = useSyncExternalStore(
    subscribe,
    () => select(client.getState()),
    () => select(EMPTY),
  );
  return { client, state };
}
