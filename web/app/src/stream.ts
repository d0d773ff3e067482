/**
 * The page's stream. Outside React, so that it connects before the components have loaded.
 */

import { LivingMapClient } from '@living-map/react';
import { server } from './server';
import { getSession } from './session';

let client = new LivingMapClient(server);
let session = getSession().number;

/** Returns the stream of a session; each session has its own, so that no data of a previous one is shown. */
export function getStream(number: number): LivingMapClient {
  if (number !== session) {
    client.stop();
    client = new LivingMapClient(server);
    session = number;
  }
  return client;
}
