export * from './core.js';
export { type History, useHistory } from './history.js';
export {
  type LivingMapFull,
  type LivingMapLite,
  useEntity,
  useLayer,
  useLivingMapFull,
  useLivingMapLite,
} from './hooks.js';
export type { Server } from './pages.js';
export {
  type Errors,
  type Lessons,
  type Resource,
  type ResourceOptions,
  useErrors,
  useLessons,
  useResource,
} from './resource.js';
