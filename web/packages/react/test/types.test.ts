// Types are checked by the compiler in `npm run check`; at run time only the exports are.
import { expectTypeOf, test } from 'vitest';
import {
  type AgentsLayer,
  type Change,
  type CityLayer,
  type Diff,
  type Entity,
  type EventFrame,
  type EventList,
  get,
  type HistoryItem,
  type JournalHealth,
  type Layer,
  type Lesson,
  type LivingMapFull,
  type RelationList,
  type Snapshot,
  useEntity,
  useErrors,
  useHistory,
  useLayer,
  useLessons,
  type useLivingMapFull,
  type useLivingMapLite,
  useResource,
} from '../src/index.js';

test('the hooks have their documented results', () => {
  expectTypeOf<typeof useLivingMapFull>().toBeCallableWith({
    url: '',
    layers: ['city'],
    maxEvents: 1,
    pauseWhenHidden: false,
  });
  expectTypeOf<ReturnType<typeof useLivingMapFull>>().toExtend<{
    snapshot: Snapshot | null;
    isLoading: boolean;
    error: Error | null;
    connectionStatus: 'connecting' | 'open' | 'closed' | 'error';
    refetch: () => Promise<void>;
    events: readonly EventFrame[];
    cursor: string | null;
    reconnect: () => void;
  }>();
  expectTypeOf<ReturnType<typeof useLivingMapLite>>().toExtend<
    LivingMapFull & {
      selectedLayer: Layer | null;
      setSelectedLayer: (layer: Layer | null) => void;
      selectedEntityId: string | null;
      setSelectedEntityId: (id: string | null) => void;
    }
  >();
});

test('useLayer and useEntity are typed by layer and entity type', () => {
  expectTypeOf(useLayer<'agents'>).returns.toEqualTypeOf<AgentsLayer | null>();
  expectTypeOf(useLayer<'city'>).returns.toEqualTypeOf<CityLayer | null>();
  expectTypeOf(useEntity).returns.toEqualTypeOf<Entity | null>();
  expectTypeOf<Entity['data']['status']>().not.toBeAny();
  // @ts-expect-error unknown layer
  expectTypeOf(useLayer<'moons'>).returns.toBeNullable();
});

test('the schemas of the document are exported by name', () => {
  expectTypeOf<CityLayer['health']>().toEqualTypeOf<'green' | 'yellow' | 'red'>();
  expectTypeOf<JournalHealth['unhealthy_targets']>().toEqualTypeOf<string[]>();
  expectTypeOf<Change['layer']>().toEqualTypeOf<Layer>();
});

test('parameters and response of a route follow from its path', () => {
  expectTypeOf(get<'/living-map/history'>).returns.toEqualTypeOf<Promise<EventList>>();
  expectTypeOf(get<'/living-map/diff'>)
    .parameter(2)
    .toEqualTypeOf<{ from: string; to?: string }>();
  expectTypeOf(useResource<'/living-map/diff'>)
    .returns.toHaveProperty('data')
    .toEqualTypeOf<Diff | null>();
  expectTypeOf(useResource<'/living-map/entities/{id}/relations'>)
    .returns.toHaveProperty('data')
    .toEqualTypeOf<RelationList | null>();
  // @ts-expect-error unknown route
  expectTypeOf(get<'/living-map/moons'>).toBeFunction();
  expectTypeOf(useHistory).returns.toHaveProperty('items').toEqualTypeOf<readonly HistoryItem[]>();
  expectTypeOf(useLessons).returns.toHaveProperty('items').toEqualTypeOf<readonly Lesson[]>();
  expectTypeOf(useErrors).returns.toHaveProperty('health').toEqualTypeOf<JournalHealth | null>();
});
