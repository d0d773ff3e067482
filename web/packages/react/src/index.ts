export * from './core.js';
export {
  type LivingMapFull,
  type LivingMapLite,
  useEntity,
  useLayer,
  useLivingMapFull,
  useLivingMapLite,
} from './hooks.js';
export { type History, type ResourceOptions, type Server, useHistory } from './pages.js';
export {
  type Errors,
  type Lessons,
  type Resource,
  useErrors,
  useLessons,
  useResource,
} from './resource.js';
