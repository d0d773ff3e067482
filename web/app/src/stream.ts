/**
 * The page's one stream. Not a hook's: it sets out before there are components, so that the first map is on its way while
 * they are still being loaded.
 */

import { LivingMapClient } from '@living-map/react';
import { server } from './server';
import { getSession } from './session';

let client = new LivingMapClient(server);
let session = getSession().number;

/** That of a session. Each has its own: what one was shown is not for who comes next. */
export function getStream(number: number): LivingMapClient {
  if (number !== session) {
    client.stop();
    client = new LivingMapClient(server);
    session = number;
  }
  return client;
}
