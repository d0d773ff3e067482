import { useLayers, useNetwork } from '../live';
import { useText } from '../preferences';
import { useTravel } from '../travel';
import { StateBox } from '../ui/state-box';
import { AlertRow } from './alert';
import { ProblemRow } from './problems';
import { Silences, useSilences } from './silences';

const ROWS = 100;

/** Everything that needs attention, worst first: raised alerts, then what the map itself shows. */
export function Alerts() {
  const { t } = useText();
  const { at } = useTravel();
  const layers = useLayers();
  const silences = useSilences();
  const { problems } = useNetwork();
  const raised = problems.filter(({ alert }) => alert !== null);
  const found = problems.filter(({ alert }) => alert === null);
  const notices = (layers?.city?.alerts ?? []).filter(({ severity }) => severity === 'info');
  const isEmpty = problems.length + notices.length === 0;
  return (
    <>
      {isEmpty && <StateBox icon="alerts">{t(layers === null ? 'loading' : 'alerts.empty')}</StateBox>}
      {raised.length > 0 && (
        <>
          <h3>{t('alerts.raised')}</h3>
          <ul className="rows" aria-label={t('alerts.raised')}>
            {raised.map((problem) => (
              <ProblemRow key={problem.alert?.id ?? ''} problem={problem} onSilence={silences.refetch} />
            ))}
          </ul>
        </>
      )}
      {notices.length > 0 && (
        <>
          <h3>{t('alerts.notices')}</h3>
          <ul className="rows" aria-label={t('alerts.notices')}>
            {notices.map((alert) => (
              <AlertRow key={alert.id} alert={alert} isOwn={false} onSilence={silences.refetch} />
            ))}
          </ul>
        </>
      )}
      {/* The server lists current silences only. */}
      {at === null && <Silences of={silences} />}
      {found.length > 0 && (
        <>
          <h3>{t('alerts.found')}</h3>
          <ul className="rows" aria-label={t('alerts.found')}>
            {found.slice(0, ROWS).map((problem) => (
              <ProblemRow key={problem.item?.id ?? problem.source?.service ?? ''} problem={problem} />
            ))}
            {found.length > ROWS && <li className="muted">{t('changes.more', { count: found.length - ROWS })}</li>}
          </ul>
        </>
      )}
    </>
  );
}
