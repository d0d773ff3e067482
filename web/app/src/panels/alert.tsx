import type { Alert } from '@living-map/react';
import { Suspense, useId, useRef, useState } from 'react';
import { itemById } from '../entities';
import { useLayers } from '../live';
import { Action } from '../parts/action';
import { late } from '../parts/late';
import { EntityLink } from '../parts/link';
import { useText } from '../preferences';
import { around } from '../replay/around';
import { errorText, post } from '../requests';
import { SeverityGlyph } from '../severity';
import { isSilenced } from '../silences';
import { playSpan, useTravel } from '../travel';
import { formatView, getView, setView } from '../view';
import { alertMeasure, alertMessage, alertTitle } from '../words/alert-text';
import { NewSilence } from './silences';

/** Loaded when it is first opened. */
const AlertMoment = late(() => import('./alert-moment'));

interface AlertRowProps {
  alert: Alert;
  /** Whether the list belongs to one entity, whose name is then omitted. */
  isOwn: boolean;
  /** Called after a silence was created. */
  onSilence: () => void;
}

export function AlertRow({ alert, isOwn, onSilence }: AlertRowProps) {
  const text = useText();
  const { t, clock } = text;
  const { at } = useTravel();
  const layers = useLayers();
  const { severity, source, entity_id, raised_at } = alert;
  const message = alertMessage(alert, layers, text);
  const measure = alertMeasure(alert, text);
  const item = entity_id === null ? null : itemById(layers, entity_id);
  return (
    <li data-severity={severity}>
      <SeverityGlyph severity={severity} /> <span className="muted">{t(`severity.${severity}`)}</span>{' '}
      <strong>{alertTitle(alert, layers, text)}</strong>
      {message !== null && <span className="block">{message}</span>}
      {measure !== null && <span className="block">{measure}</span>}
      <span className="muted block">
        <time dateTime={raised_at}>{clock(raised_at, true)}</time>
        {source !== null && ` · ${source}`}
        {entity_id !== null && !isOwn && ' · '}
        {isOwn ? null : item ? (
          <EntityLink id={item.id} item={item}>
            {item.label}
          </EntityLink>
        ) : (
          entity_id
        )}
      </span>
      <AlertState alert={alert} moment={at === null ? Date.now() : Date.parse(at)} />
      <AlertPast alert={alert} id={item?.id ?? entity_id} />
      {at === null && <AlertActions alert={alert} onSilence={onSilence} />}
    </li>
  );
}

/** The ways to the moment of an alert, and what its entity was then. */
function AlertPast({ alert, id }: { alert: Alert; id: string | null }) {
  const { t } = useText();
  const [isOpen, setOpen] = useState(false);
  const details = useId();
  const raised = Date.parse(alert.raised_at);
  const moment = {
    at: new Date(raised).toISOString(),
    ...(id === null ? {} : { entity: id }),
    panel: 'alerts' as const,
  };
  return (
    <>
      <div className="tools">
        <a
          href={formatView({ ...getView(), ...moment })}
          onClick={(event) => {
            if (event.metaKey || event.ctrlKey || event.shiftKey) return;
            event.preventDefault();
            setView(moment);
          }}
        >
          {t('alerts.moment')}
        </a>
        {id !== null && (
          <button
            type="button"
            aria-expanded={isOpen}
            aria-controls={isOpen ? details : undefined}
            onClick={() => setOpen((is) => !is)}
          >
            {t('alerts.then')}
          </button>
        )}
        <button type="button" onClick={() => playSpan(around(raised))}>
          {t('alerts.play')}
        </button>
      </div>
      {isOpen && id !== null && (
        <div id={details}>
          <Suspense fallback={<p className="empty">{t('loading')}</p>}>
            <AlertMoment alert={alert} id={id} />
          </Suspense>
        </div>
      )}
    </>
  );
}

/** Acknowledgement and silence of an alert. */
function AlertState({ alert, moment }: { alert: Alert; moment: number }) {
  const { t, clock } = useText();
  const { acknowledged_by, acknowledged_at, note, silenced_until } = alert;
  return (
    <>
      {acknowledged_by !== null && (
        <span className="block">
          {t('alerts.acknowledged', { by: acknowledged_by, time: clock(acknowledged_at ?? '', true) })}
          {note !== null && `: ${note}`}
        </span>
      )}
      {isSilenced(alert, moment) && (
        <span className="block">{t('alerts.silenced', { time: clock(silenced_until ?? '', true) })}</span>
      )}
    </>
  );
}

/** Buttons to acknowledge and silence an alert. */
function AlertActions({ alert, onSilence }: { alert: Alert; onSilence: () => void }) {
  const i18n = useText();
  const { t } = i18n;
  const [problem, setProblem] = useState<string | null>(null);
  const [isSilencing, setSilencing] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const act = async (path: string, body: object): Promise<boolean> => {
    try {
      await post(path, body);
      setProblem(null);
      return true;
    } catch (error) {
      setProblem(errorText(error, i18n));
      return false;
    }
  };
  const leave = () => {
    setSilencing(false);
    opener.current?.focus();
  };
  return (
    <>
      <div className="tools">
        <Action
          operation="acknowledge_alert_by_query"
          onClick={() => act(`living-map/alerts/acknowledge?id=${encodeURIComponent(alert.id)}`, {})}
        >
          {t(alert.acknowledged_by === null ? 'alerts.acknowledge' : 'alerts.takeover')}
        </Action>
        <Action
          operation="silence_alerts"
          ref={opener}
          aria-expanded={isSilencing}
          onClick={() => setSilencing((is) => !is)}
        >
          {t('alerts.silence')}
        </Action>
      </div>
      {isSilencing && (
        <NewSilence
          alert={alert}
          onLeave={leave}
          onBegin={async (silence) => {
            if (!(await act('living-map/alerts/silences', silence))) return;
            leave();
            onSilence();
          }}
        />
      )}
      {problem && (
        <p className="notice" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}
