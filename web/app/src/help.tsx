import type { Key } from './i18n/en';
import { useText } from './preferences';
import { Dialog } from './ui/dialog';

const KEYS: readonly [string, Key][] = [
  ['Ctrl K  /', 'help.search'],
  ['1 2 3 4', 'help.layers'],
  ['← ↑ → ↓', 'help.move'],
  ['Enter', 'help.open'],
  ['+ − 0', 'help.zoom'],
  ['P', 'help.play'],
  [', .', 'help.step'],
  ['L', 'help.live'],
  ['T', 'help.table'],
  ['Esc', 'help.close'],
  ['?', 'help.help'],
];

export function Help({ onClose }: { onClose: () => void }) {
  const { t } = useText();
  return (
    <Dialog title={t('help')} onClose={onClose}>
      <dl className="keys">
        {KEYS.map(([keys, does]) => (
          <div key={keys}>
            <dt>
              {keys.split(/ +/).map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{t(does)}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={onClose}>
        {t('close')}
      </button>
    </Dialog>
  );
}
