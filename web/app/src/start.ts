/** What the page runs first: little, so that the first map is asked for while the rest is loaded. */

import './style.css';
import { getSession } from './session';
import { getStream } from './stream';

getStream(getSession().number).start();
import('./main');
