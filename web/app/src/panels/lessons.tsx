import { type Lessons as LessonList, useLessons } from '@living-map/react';
import { useState } from 'react';
import { useDenial } from '../caller';
import { itemById } from '../entities';
import { useLayers } from '../live';
import { Action } from '../parts/action';
import { Answer } from '../parts/answer';
import { EntityLink } from '../parts/link';
import { useText } from '../preferences';
import { errorText, post } from '../requests';
import { server, statusOf } from '../server';
import { StateBox } from '../ui/state-box';
import { setView, useView } from '../view';
import { lessonText } from '../words/lesson-text';
import { serverText } from '../words/server-text';

type Lesson = LessonList['items'][number];

const STATUSES = ['candidate', 'active', 'rejected', 'superseded', 'retired'] as const;
const PATH = 'living-map/lessons';

/** Lessons panel with review actions. */
export function Lessons() {
  const { t } = useText();
  const { list } = useView();
  const status = STATUSES.find((value) => value === list) ?? 'candidate';
  const lessons = useLessons({ status, cause: 'none' }, server);
  return (
    <>
      <div className="tools">
        <label>
          {t('lessons.status')}{' '}
          <select value={status} onChange={(event) => setView({ list: event.target.value }, false)}>
            {STATUSES.map((value) => (
              <option key={value} value={value}>
                {t(`lesson.${value}`)}
              </option>
            ))}
          </select>
        </label>
      </div>
      <Answer of={lessons} isKnown={!lessons.isLoading || lessons.items.length > 0}>
        {lessons.items.length === 0 && !lessons.error && <StateBox icon="lessons">{t('lessons.empty')}</StateBox>}
        <ul className="rows">
          {lessons.items.map((lesson) => (
            <LessonRow key={lesson.lesson_key} lesson={lesson} onChange={lessons.refetch} />
          ))}
        </ul>
      </Answer>
    </>
  );
}

/** Candidate lessons of one agent; renders nothing if there are none. */
export function OpenLessons({ agent }: { agent: string }) {
  const { t } = useText();
  const lessons = useLessons({ agent, status: 'candidate' }, server);
  if (lessons.items.length === 0) return null;
  return (
    <>
      <h3>{t('lessons.open')}</h3>
      <ul className="rows">
        {lessons.items.map((lesson) => (
          <LessonRow key={lesson.lesson_key} lesson={lesson} onChange={lessons.refetch} />
        ))}
      </ul>
    </>
  );
}

/** Lessons of other agents with the same root cause, loaded when expanded. */
function Effects({ of }: { of: Lesson }) {
  const { t } = useText();
  const [isOpen, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t('lessons.effects', { count: of.effects })}</summary>
      {isOpen && <EffectRows of={of.root_key} />}
    </details>
  );
}

function EffectRows({ of }: { of: string }) {
  const lessons = useLessons({ cause: of }, server);
  return (
    <ul className="rows">
      {lessons.items.map((lesson) => (
        <LessonRow key={lesson.lesson_key} lesson={lesson} onChange={lessons.refetch} />
      ))}
    </ul>
  );
}

function LessonRow({ lesson, onChange }: { lesson: Lesson; onChange: () => void }) {
  const i18n = useText();
  const { t, clock } = i18n;
  const layers = useLayers();
  const item = lesson.agent_id === null ? null : itemById(layers, lesson.agent_id);
  const [reason, setReason] = useState('');
  const [problem, setProblem] = useState<string | null>(null);
  const { lesson_key, agent_id, status, version, replay_count, ts } = lesson;
  const { title, observation, advice } = lessonText(lesson, layers, i18n);
  const isDenied = useDenial(status === 'candidate' ? 'review_lesson' : 'retire_lesson') !== null;
  const act = async (action: 'review' | 'retire', body: object) => {
    try {
      await post(`${PATH}/${encodeURIComponent(lesson_key)}/${action}`, { version, reason, ...body });
      setProblem(null);
    } catch (error) {
      setProblem(statusOf(error) === 409 ? t('lessons.conflict') : errorText(error, i18n));
    }
    onChange();
  };
  return (
    <li>
      <strong>{title}</strong>
      <span className="muted block">
        {t(`lesson.${status}`)} · {clock(ts, true)}
        {replay_count > 0 && ` · ${t('lessons.replays', { count: replay_count })}`}
      </span>
      {agent_id && (
        <EntityLink id={agent_id} item={item}>
          {item?.label ?? agent_id}
        </EntityLink>
      )}
      <p>{observation}</p>
      {advice !== null && (
        <>
          <p>{advice}</p>
          <details>
            <summary>{t('lessons.recorded')}</summary>
            <p lang="en">{serverText(lesson.text, layers, i18n)}</p>
          </details>
        </>
      )}
      {lesson.effects > 0 && <Effects of={lesson} />}
      {(status === 'candidate' || status === 'active') && (
        <div className="tools">
          {!isDenied && (
            <input
              value={reason}
              placeholder={t('lessons.reason')}
              aria-label={t('lessons.reason')}
              onChange={(event) => setReason(event.target.value)}
            />
          )}
          {status === 'candidate' ? (
            <>
              <Action operation="review_lesson" onClick={() => act('review', { decision: 'confirm' })}>
                {t('lessons.confirm')}
              </Action>
              <Action operation="review_lesson" onClick={() => act('review', { decision: 'reject' })}>
                {t('lessons.reject')}
              </Action>
            </>
          ) : (
            <Action operation="retire_lesson" disabled={!reason.trim()} onClick={() => act('retire', {})}>
              {t('lessons.retire')}
            </Action>
          )}
        </div>
      )}
      {problem && (
        <p className="notice" role="alert">
          {problem}
        </p>
      )}
    </li>
  );
}
