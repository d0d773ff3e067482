import { Tooltip } from '@base-ui/react/tooltip';
import { Suspense, useEffect, useState } from 'react';
import { useSession } from './access';
import { CallerProvider } from './caller';
import { Dock, loadPanels } from './frame/dock';
import { Header } from './frame/header';
import { useIsPhone } from './frame/phone';
import { Rail } from './frame/rail';
import { SessionNotices } from './frame/session-notices';
import { Stage } from './frame/stage';
import { listenToKeys } from './keyboard';
import { Live } from './live';
import { Login } from './login';
import { late } from './parts/late';
import { useText } from './preferences';
import { ReadyProvider, useIsTokenMissing } from './sources';
import { TimeBar } from './timebar';
import { setView, useView } from './view';

/** Loaded after the map. */
const loadCommandBox = () => import('./frame/command');
const CommandBox = late(loadCommandBox);
const Help = late(async () => ({ default: (await import('./help')).Help }));
/** Loaded on a phone. */
const Tabs = late(async () => ({ default: (await import('./frame/tabs')).Tabs }));

/** Delay after which the rest is loaded, so that it does not delay the first picture (ms). */
const PRELOAD_MS = 3000;
/** Delay before a tooltip opens (ms). */
const TOOLTIP_MS = 400;

/** The map, or the login form if the server requires a token. */
export function App() {
  const { number } = useSession();
  return (
    <Tooltip.Provider delay={TOOLTIP_MS}>
      <ReadyProvider key={number}>
        <CallerProvider>
          <Door />
        </CallerProvider>
      </ReadyProvider>
    </Tooltip.Provider>
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
  const { layer } = useView();
  const isPhone = useIsPhone();
  const [overlay, setOverlay] = useState<'help' | 'command' | null>(null);
  useEffect(
    () =>
      listenToKeys({
        command: () => setOverlay('command'),
        play: () => document.querySelector<HTMLButtonElement>('.time .play')?.click(),
        help: () => setOverlay('help'),
        // Dialogs and menus handle Escape themselves.
        isCovered: () => document.querySelector('[role=dialog]:not(.drawer)') !== null,
      }),
    [],
  );
  useEffect(() => {
    // If the server is down, they are loaded when they are opened.
    const load = () => Promise.all([loadCommandBox(), loadPanels()]).catch(() => {});
    const timer = setTimeout(load, PRELOAD_MS);
    return () => clearTimeout(timer);
  }, []);
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
        onCommand={() => setOverlay('command')}
      />
      {isPhone ? (
        <Suspense fallback={<div className="rail" />}>
          <Tabs onHelp={() => setOverlay('help')} />
        </Suspense>
      ) : (
        <Rail onHelp={() => setOverlay('help')} />
      )}
      <main>
        <SessionNotices />
        <Stage />
        <TimeBar />
        <Dock />
      </main>
      <Suspense>
        {overlay === 'help' && <Help onClose={() => setOverlay(null)} />}
        {overlay === 'command' && <CommandBox onClose={() => setOverlay(null)} />}
      </Suspense>
    </>
  );
}
