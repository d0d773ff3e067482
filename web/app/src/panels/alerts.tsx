import { useMemo } from 'react';
import { alertsOf } from '../entities';
import { useLayers } from '../live';
import { EntityLink } from '../parts/link';
import { Glyph, StatusMark } from '../parts/mark';
import { useText } from '../preferences';
import { sourceTone, useSources } from '../sources';

const ROWS = 100;

/** What needs a look: sources that fail, entities that warn or fail, nodes with something to say. */
export function useAlertCount(): number {
  const layers = useLayers();
  const failing = useSources().filter(({ status }) => status !== 'ok').length;
  return useMemo(() => alertsOf(layers).length, [layers]) + failing;
}

export function Alerts() {
  const { t, maybe } = useText();
  const layers = useLayers();
  const alerts = useMemo(() => alertsOf(layers), [layers]);
  const failing = useSources().filter(({ status }) => status !== 'ok');
  if (alerts.length + failing.length === 0) return <p className="empty">{t('alerts.empty')}</p>;
  return (
    <ul className="rows">
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
