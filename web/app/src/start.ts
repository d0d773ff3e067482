/** Entry script: small, so that the map is requested while the rest of the page loads. */

import './style.css';
import { getSession } from './session';
import { getStream } from './stream';

getStream(getSession().number).start();
import('./main');
