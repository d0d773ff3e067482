/** The client without React. */

export { type Environment, LivingMapClient, type LivingMapOptions } from './client.js';
export type { WebSocketConstructor } from './connection.js';
export { type Entity, type EntityData, findEntity } from './entity.js';
export { applyChange, compareIds, listOf } from './fold.js';
export type { Change, EventFrame, Frame } from './frames.js';
export type * from './generated.js';
export { get, LivingMapError } from './rest.js';
export type { ConnectionStatus, MapState } from './store.js';
export { authenticate, type TokenSource } from './token.js';
