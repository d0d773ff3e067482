import { useEffect, useRef } from 'react';
import type { Key } from './i18n/en';
import { useText } from './preferences';

const KEYS: readonly [string, Key][] = [
  ['1 2 3 4', 'help.layers'],
  ['/', 'help.search'],
  ['← ↑ → ↓', 'help.move'],
  ['Enter', 'help.open'],
  ['+ − 0', 'help.zoom'],
  ['P', 'help.play'],
  ['L', 'help.live'],
  ['T', 'help.table'],
  ['Esc', 'help.close'],
  ['?', 'help.help'],
];

export function Help({ onClose }: { onClose: () => void }) {
  const { t } = useText();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-label={t('help')} onClose={onClose}>
      <h2>{t('help')}</h2>
      <dl className="facts">
        {KEYS.map(([keys, does]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{t(does)}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={() => dialog.current?.close()}>
        {t('close')}
      </button>
    </dialog>
  );
}
