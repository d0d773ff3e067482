import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app';
import { loadPreferredLanguage } from './preferences';

const root = document.getElementById('root');
if (root) {
  await loadPreferredLanguage();
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
