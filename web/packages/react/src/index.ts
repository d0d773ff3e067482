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
