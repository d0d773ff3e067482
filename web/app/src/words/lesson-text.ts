/**
 * Lessons for people, composed of their fields in the language of the page: the texts that the learner stored are English and
 * have ids and times of UTC. `lessons.json` has the texts of each rule.
 */

import type { Layers, Lessons } from '@living-map/react';
import { itemById } from '../entities';
import type { Text } from '../i18n/text';
import table from './lessons.json';
import { serverText } from './server-text';

type Lesson = Lessons['items'][number];

interface LessonText {
  readonly title: string;
  /** What was observed, how often and when. */
  readonly observation: string;
  /** What to do; `null`: the learner's text says it. */
  readonly advice: string | null;
}

export function lessonText(lesson: Lesson, layers: Layers | null, text: Text): LessonText {
  const key = keyOf(lesson);
  if (key === null) {
    return {
      title: serverText(lesson.title, layers, text),
      observation: serverText(lesson.text, layers, text),
      advice: null,
    };
  }
  const { agent_id, occurrences, first_seen, last_seen, signature } = lesson;
  const [kind = '', ...subject] = signature.split(':');
  const parameters = {
    agent: agent_id === null ? '' : (itemById(layers, agent_id)?.label ?? agent_id),
    count: occurrences,
    since: text.clock(first_seen, true),
    // Shorter ones are one moment.
    span: text.duration(Math.max(1, (Date.parse(last_seen) - Date.parse(first_seen)) / 1000)),
    signature: key.startsWith('shared.') ? subject.join(':') : signature,
    kind: text.maybe(`field.${kind}`, kind),
    subject: subject.slice(0, -1).join(':'),
  };
  const { title, text: observed, advice } = table[key][text.language];
  return {
    title: text.fill(title, parameters),
    observation: text.fill(observed, parameters),
    advice: text.fill(advice, parameters),
  };
}

/** The key of its texts; `null`: a rule without texts. */
function keyOf({ rule, signature }: Lesson): keyof typeof table | null {
  const isWorse = signature.endsWith(':worse');
  const [problem = ''] = signature.split(':');
  const key = { sibling: `sibling.${isWorse ? 'worse' : 'better'}`, shared_cause: `shared.${problem}` }[rule] ?? rule;
  return Object.hasOwn(table, key) ? (key as keyof typeof table) : null;
}
