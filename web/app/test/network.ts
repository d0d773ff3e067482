/** Generates a map of any size. */

import type { AgentItem, Layers } from '@living-map/react';

export function agent(id: string, microdao: string | null, kind = 'assistant'): AgentItem {
  return {
    id,
    name: id.slice(id.indexOf(':') + 1),
    kind,
    microdao_id: microdao,
    status: 'online',
    model: null,
    description: null,
    last_active: null,
    current_run: null,
    open_lessons: null,
    usage: { llm_calls_24h: 7, tokens_24h: 900, messages_24h: 1, avg_response_time_ms: 812.4 },
  };
}

const many = <T>(length: number, make: (at: number) => T) => Array.from({ length }, (_, at) => make(at));
const number = (at: number) => String(at).padStart(5, '0');
const metrics = { cpu: 0.5, gpu: 0.95, ram: null, disk: 0.1, net_in: 1, net_out: 2, temperature: 61.04 };

export function network(microdaos: number, agents: number, nodes: number): Layers {
  const home = (at: number) => (microdaos > 0 ? `microdao:${at % microdaos}` : null);
  const node = (at: number) => ({
    id: `node:${number(at)}`,
    name: `Node ${at}`,
    status: 'online' as const,
    alerts: [],
  });
  return {
    city: {
      active_agents: agents,
      alerts: [],
      active_users: 0,
      health: 'green' as never,
      metrics: {} as never,
      quests: [],
      microdaos_total: microdaos,
      items: many(microdaos, (at) => ({
        id: `microdao:${at}`,
        name: `MicroDAO ${at}`,
        slug: null,
        description: null,
        status: 'active' as const,
        agents: 0,
        nodes: 0,
        members: 3,
        treasury: [{ balance: '1.50', token_symbol: 'DAAR' }],
      })),
      channels: many(microdaos, (at) => ({
        id: `channel:${at}`,
        name: `channel-${at}`,
        status: 'active' as const,
        last_active: null,
        messages_24h: 0,
        microdao_id: `microdao:${at}`,
      })),
    },
    space: {
      planets: many(microdaos, (at) => ({
        id: `dao:${number(at)}`,
        name: `DAO ${at}`,
        type: 'dao',
        slug: null,
        status: 'active' as const,
        microdao_id: `microdao:${at}`,
        active_proposals: 0,
        activity: null,
        anomaly_score: null,
        members: null,
        position: null,
        treasury: [],
        treasury_value: at * 1000,
        orbits: many(nodes, node)
          .filter((_, place) => place % (microdaos + 1) === at)
          .map(({ id }) => id),
      })),
      nodes: many(nodes, (at) => ({ ...node(at), cpu: 0.5, gpu: null, memory: 0.2 })),
    },
    nodes: {
      total_cpu: 0,
      total_gpu: 0,
      total_ram: 0,
      items: many(nodes, (at) => ({
        ...node(at),
        microdao_id: home(at),
        metrics,
        agents: null,
        latency_ms: 12.3,
        uptime_seconds: 7300,
        last_seen: null,
      })),
    },
    agents: {
      online_agents: agents,
      total_agents: agents,
      total_llm_calls_24h: 0,
      llm_calls_24h_without_agent: 0,
      items: many(agents, (at) => agent(`agent:${number(at)}`, home(at), `kind-${at % 5}`)),
    },
  };
}
