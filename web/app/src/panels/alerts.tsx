import { useNetwork } from '../live';
import { useText } from '../preferences';
import { useTravel } from '../travel';
import { StateBox } from '../ui/state-box';
import { ProblemRow } from './problems';
import { Silences, useSilences } from './silences';

const ROWS = 100;

/** Everything that needs attention, worst first: raised alerts, then what the map itself shows. */
export function Alerts() {
  const { t } = useText();
  const { at } = useTravel();
  const silences = useSilences();
  const { problems } = useNetwork();
  const raised = problems.filter(({ alert }) => alert !== null);
  const found = problems.filter(({ alert }) => alert === null);
  return (
    <>
      {problems.length === 0 && <StateBox icon="alerts">{t('alerts.empty')}</StateBox>}
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
