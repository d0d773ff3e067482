import { useEffect, useState } from 'react';
import { useSession } from './access';
import { Filters } from './filters';
import { Header } from './header';
import { Help } from './help';
import { listenToKeys } from './keyboard';
import { Live } from './live';
import { Login } from './login';
import { EntityPanel } from './panels/entity';
import { Panels } from './panels/panels';
import { Picture } from './picture/picture';
import { useText } from './preferences';
import { ReadyProvider, Sources, useIsTokenMissing } from './sources';
import { Table } from './table';
import { TimeBar } from './timebar';
import { setView, useView } from './view';

/** The map, or the login form if the server requires a token. */
export function App() {
  const { number } = useSession();
  return (
    <ReadyProvider key={number}>
      <Door />
    </ReadyProvider>
  );
}

function Door() {
  return useIsTokenMissing() ? (
    <Login />
  ) : (
    <Live>
      <Page />
    </Live>
  );
}

function Page() {
  const { t } = useText();
  const { table, entity, layer } = useView();
  const [isHelped, setHelped] = useState(false);
  useEffect(
    () =>
      listenToKeys({
        search: () => document.getElementById('search')?.focus(),
        play: () => document.querySelector<HTMLButtonElement>('.time .play')?.click(),
        help: () => setHelped(true),
        // The browser itself closes the dialog on Escape.
        close: () => document.querySelector('dialog[open]') !== null,
      }),
    [],
  );
  useEffect(() => {
    document.title = `${t(layer)} · ${t('title')}`;
  }, [t, layer]);
  return (
    <>
      <Header
        onSkip={() => {
          setView({ table: true });
          requestAnimationFrame(() => document.querySelector<HTMLElement>('.table')?.focus());
        }}
      />
      <main>
        <div className="map">
          <div className="bar">
            <Filters />
            <button type="button" aria-pressed={table} title="T" onClick={() => setView({ table: !table })}>
              {t('map.table')}
            </button>
          </div>
          {table ? <Table key={layer} /> : <Picture />}
          <TimeBar />
          <footer>
            <Sources />
            <nav aria-label={t('developers')}>
              <button type="button" onClick={() => setHelped(true)}>
                {t('help')}
              </button>
              <a href="docs/">{t('developers.docs')}</a>
              <a href="openapi.json">OpenAPI</a>
              <a href="metrics">Metrics</a>
            </nav>
          </footer>
        </div>
        <aside>
          {entity !== null && <EntityPanel key={entity} id={entity} />}
          <Panels />
        </aside>
      </main>
      {isHelped && <Help onClose={() => setHelped(false)} />}
    </>
  );
}
