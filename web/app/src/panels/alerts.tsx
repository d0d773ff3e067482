import { useMemo } from 'react';
import { alertsOf } from '../entities';
import { useLayers } from '../live';
import { EntityLink } from '../parts/link';
import { Glyph, StatusMark } from '../parts/mark';
import { useText } from '../preferences';
import { activeAlerts } from '../severity';
import { sourceTone, useSources } from '../sources';
import { useTravel } from '../travel';
import { AlertRow } from './alert';
import { Silences, useSilences } from './silences';

const ROWS = 100;

/** Number of items that need attention: alerts, failing upstreams, and entities in the status `warning` or `error`. */
export function useAlertCount(): number {
  const layers = useLayers();
  const failing = useSources().filter(({ status }) => status !== 'ok').length;
  return useMemo(() => alertsOf(layers).length + activeAlerts(layers).length, [layers]) + failing;
}

export function Alerts() {
  const { t } = useText();
  const { at } = useTravel();
  const layers = useLayers();
  const silences = useSilences();
  const raised = useMemo(() => activeAlerts(layers), [layers]);
  const found = useMemo(() => alertsOf(layers).length, [layers]);
  const failing = useSources().filter(({ status }) => status !== 'ok').length;
  return (
    <>
      {raised.length + found + failing === 0 && <p className="empty">{t('alerts.empty')}</p>}
      {raised.length > 0 && (
        <>
          <h3>{t('alerts.raised')}</h3>
          <ul className="rows" aria-label={t('alerts.raised')}>
            {raised.map((alert) => (
              <AlertRow key={alert.id} alert={alert} onSilence={silences.refetch} />
            ))}
          </ul>
        </>
      )}
      {/* The server lists current silences only. */}
      {at === null && <Silences of={silences} />}
      {found + failing > 0 && (
        <>
          <h3>{t('alerts.found')}</h3>
          <EntityAlerts />
        </>
      )}
    </>
  );
}

/** Problems visible on the map without an alert: failing upstreams and entities. */
function EntityAlerts() {
  const { t, maybe } = useText();
  const layers = useLayers();
  const alerts = useMemo(() => alertsOf(layers), [layers]);
  const failing = useSources().filter(({ status }) => status !== 'ok');
  return (
    <ul className="rows" aria-label={t('alerts.found')}>
      {failing.map(({ service, status, last_error }) => (
        <li key={service}>
          <Glyph shape="diamond" tone={sourceTone(status)} />{' '}
          {t('alerts.source', { service, status: t(`source.${status}`) })}
          {last_error && <span className="muted block">{last_error}</span>}
        </li>
      ))}
      {alerts.slice(0, ROWS).map(({ item, texts }) => (
        <li key={item.id}>
          <StatusMark status={item.status} />{' '}
          <EntityLink id={item.id} item={item}>
            {item.label}
          </EntityLink>{' '}
          <span className="muted">{maybe(`type.${item.type}`, item.type)}</span>
          {texts.map((text) => (
            <span key={text} className="block">
              {text}
            </span>
          ))}
        </li>
      ))}
      {alerts.length > ROWS && <li className="muted">{t('changes.more', { count: alerts.length - ROWS })}</li>}
    </ul>
  );
}
