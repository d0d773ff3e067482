import { describe, expect, test } from 'vitest';
import { loadTexts, textOf } from '../src/i18n/text';
import table from '../src/words/events.json';
import { grouped } from '../src/words/group';
import { hasSentence, type Part, sentenceOfEvent } from '../src/words/sentence';

await loadTexts('uk');

/** Subjects that the network publishes, and our own. */
const SUBJECTS = `
  city.event.opened dao.event.created dao.event.updated dao.event.deleted dao.event.member_added dao.event.member_removed
  dao.event.treasury_updated dao.event.proposal_created dao.event.proposal_activated dao.event.proposal_closed
  dao.event.vote_cast microdao.event.created microdao.event.updated microdao.event.deleted microdao.event.member_added
  microdao.event.member_removed microdao.event.member_role_updated microdao.event.settings_updated
  microdao.event.treasury_updated node.metrics.node-01 node.metrics.update agent.event.created agent.event.updated
  agent.event.deleted agent.event.activated agent.event.deactivated agent.event.invocation agent.event.reply_sent
  agent.event.tool_call agent.event.model_changed agent.event.tools_changed agent.event.prompt_changed agent.event.error
  agent.event.llm_error agent.event.tool_error agent.event.status usage.llm usage.llm.increment usage.agent usage.agent.x
  usage.agent_run.increment usage.tool messaging.message.created messaging.channel.created agents.invoke agents.reply
  agents.error agents.telemetry agents.runs.created agents.runs.finished agents.activity agent.reply.sent agent.error
  agent.filter.decision router.invoke.agent bot.registered bot.unregistered agent.telegram.update
  city.presence.room.main city.presence.user.sofia parser.document.parsed rag.document.ingested chat.message.created
  project.created task.assigned governance.policy.updated wallet.transfer telemetry.sample embassy.opened
  integration.matrix.message quest.progress.update message.received.sofia message.processed.sofia message.sent.sofia
  attachment.created.pdf attachment.parsed.pdf attachment.indexed.sofia attachment.failed.pdf agent.run.requested
  agent.run.started.sofia agent.run.progress.t1 agent.run.completed.sofia agent.run.failed.sofia memory.store.sofia
  memory.retrieve.sofia memory.indexed.sofia memory.graph.updated.sofia audit.action.gateway audit.error.gateway
  ops.health.gateway ops.alert.critical ops.alert.warning ops.alert.info config.updated.limits policy.updated.sofia
  prompt.updated.sofia agent.experience.v1.sofia agent.lesson.v1 living_map.initialized living_map.sync.agents
  living_map.alert.raised living_map.alert.cleared living_map.alert.acknowledged living_map.alert.silenced
  living_map.alert.unsilenced living_map.unreadable living_map.webhook.test attachment.failed.dlq agent.run.failed.dlq
`
  .trim()
  .split(/\s+/);

const plain = (parts: readonly Part[]) =>
  parts.map((part) => ('text' in part ? part.text : `<${part.entity}>`)).join('');

function say(event_type: string, payload: object, entity_id: string | null = null, language: 'en' | 'uk' = 'en') {
  return plain(sentenceOfEvent({ event_type, payload, entity_id }, textOf(language)).parts);
}

describe('every subject of the network', () => {
  test.each(SUBJECTS)('%s has a sentence', (subject) => {
    expect(hasSentence(subject.replace(/\.dlq$/, '.x')) || hasSentence(subject)).toBe(true);
  });

  test.each(SUBJECTS)('%s is readable without a payload, in both languages', (subject) => {
    for (const language of ['en', 'uk'] as const) {
      const said = say(subject, {}, 'agent:sofia', language);
      expect(said).not.toMatch(/[{}[\]|]|undefined|null|NaN/);
      expect(said.length).toBeGreaterThan(3);
    }
  });
});

test('sentences of both languages have the same placeholders', () => {
  const names = (text: string) => [...text.matchAll(/\{([^}:]+)(:\w+)?/g)].map(([name]) => name).sort();
  for (const [subject, templates] of Object.entries(table))
    for (const { en, uk } of templates) expect(names(uk), subject).toEqual(names(en));
});

describe('sentences', () => {
  test('name entities, and give numbers their units', () => {
    const call = { agent_id: 'oleh', model: 'glm-4', total_tokens: 18_420, latency_ms: 5812, success: true };
    expect(say('usage.llm', call, 'agent:oleh')).toBe('<agent:oleh> called glm-4, 18,420 tokens, 5.8 sec');
    expect(say('usage.llm', { ...call, success: false, error: 'rate limited' }, 'agent:oleh')).toBe(
      '<agent:oleh> called glm-4: refused, rate limited',
    );
    expect(say('node.metrics.n1', { node_id: 'n1', cpu: 0.607, ram: 41 }, 'node:n1')).toBe(
      '<node:n1> reports CPU 61%, memory 41%',
    );
    const paid = { microdao_id: '7', token_symbol: 'DCR', delta: '-12.50', new_balance: '35072.57224388' };
    expect(say('microdao.event.treasury_updated', paid, 'microdao:7')).toBe(
      'Treasury of <microdao:7>: -12.5 DCR, now 35,072.6',
    );
  });

  test('leave out what an event does not have', () => {
    expect(say('agents.error', { agent_id: 'a' }, 'agent:a')).toBe('<agent:a> failed');
    expect(say('agents.runs.created', { agent_id: 'a', input_text: 'tag it' }, 'agent:a')).toBe(
      '<agent:a> began a run: “tag it”',
    );
    expect(say('agent.run.completed.helios', { agent_run_id: 'r' }, 'agent:helios')).toBe(
      '<agent:helios> finished a run',
    );
  });

  test('counts have the plural form of their noun', () => {
    const replied = (total_tokens: number, language: 'en' | 'uk') =>
      say('agents.reply', { agent_id: 'a', total_tokens }, 'agent:a', language);
    expect(replied(1, 'en')).toBe('<agent:a> replied, 1 token');
    expect([1, 3, 5].map((count) => replied(count, 'uk').split(', ')[1])).toEqual(['1 токен', '3 токени', '5 токенів']);
  });

  test('unknown subjects fall back to their words', () => {
    expect(say('weather.station_7.rain', {}, 'agent:sofia')).toBe('Weather station 7 rain: <agent:sofia>');
  });

  test('values of publishers are text', () => {
    expect(say('usage.tool', { agent_id: 'a', tool_name: '<img src=x> {agent_id} [x]' }, 'agent:a')).toBe(
      '<agent:a> used <img src=x> {agent_id} [x]',
    );
    expect(say('agent.event.status', { agent_id: { x: 1 }, status: ['online'] }, 'agent:a')).toBe(
      'Agent event status: <agent:a>',
    );
  });
});

test('repeated events are one group with their number and the time of the oldest', () => {
  const event = (entity_id: string, second: number, success: boolean) => ({
    event_type: 'usage.llm',
    entity_id,
    timestamp: `2026-01-19T12:00:0${second}Z`,
    payload: { success },
  });
  const groups = grouped([event('a', 5, false), event('b', 4, true), event('a', 3, false), event('a', 2, true)]);
  expect(groups.map(({ newest, count, since }) => [newest.entity_id, count, since.slice(-3)])).toEqual([
    ['a', 2, '03Z'],
    ['b', 1, '04Z'],
    ['a', 1, '02Z'],
  ]);
});
