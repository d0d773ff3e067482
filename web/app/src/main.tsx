import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app';
import { Live } from './live';
import { ReadyProvider } from './sources';
import './style.css';

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <ReadyProvider>
        <Live>
          <App />
        </Live>
      </ReadyProvider>
    </StrictMode>,
  );
}
