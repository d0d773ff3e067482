import { useAsOf, useConnection, useEventRate } from '../live';
import { useText } from '../preferences';
import { useTravel } from '../travel';
import { Icon } from '../ui/icon';
import { Tip } from '../ui/tooltip';
import { Person } from './person';
import { StateSentence } from './state-sentence';

interface HeaderProps {
  /** Skip link: focuses the table view. */
  onSkip: () => void;
  onCommand: () => void;
}

export function Header({ onSkip, onCommand }: HeaderProps) {
  const { t } = useText();
  return (
    <header className="top">
      <button type="button" className="skip" onClick={onSkip}>
        {t('skip')}
      </button>
      <h1>
        <img src="./assets/icon.svg" alt="" width="26" height="26" />
        <span>{t('title')}</span>
      </h1>
      <StateSentence />
      <button type="button" className="command-button" onClick={onCommand} aria-keyshortcuts="Control+K /">
        <Icon name="search" />
        <span>{t('command.hint')}</span>
        <kbd>Ctrl K</kbd>
      </button>
      <LiveState />
      <Person />
    </header>
  );
}

/** Whether the displayed map is current, and how much happens. */
function LiveState() {
  const { t, number, clock } = useText();
  const { connectionStatus, error } = useConnection();
  const { at } = useTravel();
  const asOf = useAsOf();
  const rate = t('rate', { rate: number(useEventRate(), 1) });
  if (at !== null && connectionStatus === 'open') {
    return (
      <div className="live" data-connection={connectionStatus} data-tone="past">
        <Icon name="past" />
        <span role="status">{t('connection.past', { time: clock(at, true) })}</span>
      </div>
    );
  }
  if (asOf !== null) {
    return (
      <Tip text={error?.message ?? t(`connection.${connectionStatus}`)}>
        <div className="live" data-connection={connectionStatus} data-tone="lost">
          <Icon name="lost" />
          <span role="status">{t('asof', { time: clock(asOf) })}</span>
        </div>
      </Tip>
    );
  }
  const tone = connectionStatus === 'open' ? 'working' : connectionStatus === 'connecting' ? 'idle' : 'warning';
  return (
    <Tip text={error?.message ?? rate}>
      <div className="live" data-connection={connectionStatus} data-tone={tone}>
        <span className="dot" aria-hidden="true" />
        <span role="status">{t(`connection.${connectionStatus}`)}</span>
      </div>
    </Tip>
  );
}
