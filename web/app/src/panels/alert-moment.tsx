import type { Alert } from '@living-map/react';
import { useEffect, useMemo, useState } from 'react';
import { conditionOfStatus } from '../network/condition';
import { StepChart } from '../parts/step-chart';
import { useText } from '../preferences';
import { around } from '../replay/around';
import { loadClamped, loadFrames } from '../replay/loader';
import type { Span } from '../replay/playback';
import { Recording } from '../replay/recording';
import { ConditionPill } from '../ui/mark';
import { Tiles } from '../ui/tile';
import { factsOf, fieldName, formatField } from './facts';
import { entityIn, type Series, seriesOf } from './values';

/** Requests for the events of the entity in this time. */
const MAX_PAGES = 3;

interface Surroundings {
  recording: Recording;
  isPartial: boolean;
}

/** The entity of an alert when it was raised, and its values around that time. */
export default function AlertMoment({ alert, id }: { alert: Alert; id: string }) {
  const { t } = useText();
  const raised = Date.parse(alert.raised_at);
  const [found, setFound] = useState<Surroundings | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    const controller = new AbortController();
    loadAround(id, raised, controller.signal).then(setFound, (error) => {
      if (!controller.signal.aborted) setProblem(error instanceof Error ? error.message : String(error));
    });
    return () => controller.abort();
  }, [id, raised]);
  if (problem !== null) {
    return (
      <p className="notice" role="alert">
        {t('failed', { error: problem })}
      </p>
    );
  }
  if (found === null) return <p className="empty">{t('loading')}</p>;
  // The field of the payload that the rule compares has the same name on the map.
  const measured = alert.measurement?.field?.split('.').at(-1) ?? null;
  return <Shown {...found} id={id} raised={raised} measured={measured} />;
}

interface ShownProps extends Surroundings {
  id: string;
  raised: number;
  /** Value that the rule compares. */
  measured: string | null;
}

function Shown({ recording, isPartial, id, raised, measured }: ShownProps) {
  const text = useText();
  const { t, clock } = text;
  const series = useMemo(() => seriesOf(recording, id), [recording, id]);
  const then = entityIn(recording.layersAt(recording.ordinalAt(raised)), id);
  return (
    <div className="alert-moment">
      <h4>
        {t('alerts.then')} <span className="muted">{clock(raised, true)}</span>
      </h4>
      {then === null ? (
        <p className="notice">{t('alerts.then.none', { id })}</p>
      ) : (
        <>
          <p>
            <strong>{then.data.name}</strong> <ConditionPill condition={conditionOfStatus(then.data.status)} />
          </p>
          <Tiles figures={factsOf(then, text).filter(({ isFigure }) => isFigure)} />
        </>
      )}
      <h4>{t('alerts.values')}</h4>
      {series.length === 0 ? (
        <p className="muted">{t('alerts.values.none')}</p>
      ) : (
        <Values
          series={series}
          first={measured}
          span={{ from: recording.begin.time, to: recording.end.time }}
          raised={raised}
        />
      )}
      {isPartial && <p className="muted small">{t('alerts.values.partial', { count: recording.end.ordinal })}</p>}
    </div>
  );
}

interface ValuesProps {
  series: readonly Series[];
  /** Field that is shown first. */
  first: string | null;
  span: Span;
  raised: number;
}

function Values({ series, first, span, raised }: ValuesProps) {
  const text = useText();
  const { t, clock } = text;
  const [chosen, setChosen] = useState(first);
  const shown = series.find(({ field }) => field === chosen) ?? series[0];
  if (!shown) return null;
  const { field, points } = shown;
  const values = points.map(({ value }) => value);
  const format = (value: number) => formatField(field, value, text);
  const then = points.findLast(({ time }) => time <= raised) ?? points[0];
  const label = t('alerts.values.range', {
    name: fieldName(field, text),
    from: format(Math.min(...values)),
    to: format(Math.max(...values)),
    time: clock(raised),
    value: format(then?.value ?? Number.NaN),
  });
  return (
    <figure>
      {series.length > 1 && (
        <label>
          {t('alerts.value')}{' '}
          <select value={field} onChange={(event) => setChosen(event.target.value)}>
            {series.map(({ field }) => (
              <option key={field} value={field}>
                {fieldName(field, text)}
              </option>
            ))}
          </select>
        </label>
      )}
      <StepChart points={points} {...span} mark={raised} label={label} />
      <figcaption className="muted small">{label}</figcaption>
    </figure>
  );
}

async function loadAround(id: string, raised: number, signal: AbortSignal): Promise<Surroundings> {
  const { from, to } = around(raised);
  const until = Math.min(to, Date.now());
  const { moment } = await loadClamped(from, signal);
  const recording = new Recording(moment);
  let next: string | null = moment.cursor;
  for (let page = 0; page < MAX_PAGES && next !== null; page++) {
    const answer = await loadFrames(next, signal, { until: new Date(until).toISOString(), entity_id: id });
    recording.append(answer.items, answer.next);
    next = answer.next;
  }
  if (next === null) recording.append([], null, until);
  return { recording, isPartial: next !== null };
}
