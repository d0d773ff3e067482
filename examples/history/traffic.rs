//! Events of a network of a given size, in which a few entities are busy and most are not.

use serde_json::{Value, json};

/// Pseudo-random numbers, the same in every run (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// A number below `limit`, skewed to small ones: an eighth of the numbers are half of the results.
    pub fn skewed(&mut self, limit: u64) -> u64 {
        const ONE: u64 = 1 << 20;
        let part = self.below(ONE);
        // the cube of a uniformly distributed number
        let cube = u128::from(part).pow(3) * u128::from(limit) / u128::from(ONE).pow(3);
        u64::try_from(cube).unwrap_or(0)
    }
}

/// The entities.
pub struct Network {
    pub agents: u64,
    pub nodes: u64,
    pub microdaos: u64,
    pub daos: u64,
    numbers: Numbers,
}

impl Network {
    /// A network of about `entities`: one node to nine agents, a microDAO for twenty, a DAO for a hundred.
    pub fn new(entities: u64) -> Self {
        let (microdaos, daos) = (entities / 20, entities / 100);
        let rest = entities - microdaos - daos;
        Self { agents: rest - rest / 10, nodes: rest / 10, microdaos, daos, numbers: Numbers(11) }
    }

    /// Number of events that create all entities.
    pub fn births(&self) -> u64 {
        self.agents + self.nodes + self.microdaos + self.daos
    }

    /// The event at `place`: first all entities are created, then they are active.
    pub fn event(&mut self, place: u64) -> (&'static str, &'static str, Value) {
        let (daos, microdaos) = (self.daos, self.microdaos);
        if place < daos {
            let slug = format!("dao-{place}");
            return ("dao", "dao.event.created", json!({"dao_id": format!("dao:{slug}"), "slug": slug, "name": slug}));
        }
        let place = place - daos;
        if place < microdaos {
            let id = format!("microdao:{place}");
            return (
                "microdao",
                "microdao.event.created",
                json!({"microdao_id": id, "name": format!("Commune {place}")}),
            );
        }
        let place = place - microdaos;
        let microdao = |place: u64| format!("microdao:{}", place % microdaos.max(1));
        if place < self.nodes {
            let load = json!({"node_id": format!("node:{place}"), "cpu": 0.5, "microdao_id": microdao(place)});
            return ("node", "node.metrics.update", load);
        }
        let place = place - self.nodes;
        if place < self.agents {
            let agent = json!({"agent_id": format!("agent:{place}"), "name": format!("Agent {place}"),
                "kind": "assistant", "model": "gpt-4.1-mini", "microdao_id": microdao(place)});
            return ("agents", "agent.event.created", agent);
        }
        self.life()
    }

    fn life(&mut self) -> (&'static str, &'static str, Value) {
        let (kind, number) = (self.numbers.below(100), self.numbers.next() % 100_000);
        let agent = format!("agent:{}", self.numbers.skewed(self.agents));
        let percent = || f64::from(u32::try_from(number % 100).unwrap_or(0)) / 100.0;
        match kind {
            0..34 => (
                "usage",
                "usage.llm",
                json!({"agent_id": agent, "model": "gpt-4.1-mini", "provider": "openai",
                "prompt_tokens": number % 4_000, "completion_tokens": number % 700, "total_tokens": number % 4_700,
                "latency_ms": number % 5_000, "success": true, "error": null}),
            ),
            34..54 => {
                let node = format!("node:{}", self.numbers.below(self.nodes));
                (
                    "node",
                    "node.metrics.update",
                    json!({"node_id": node, "cpu": percent(), "gpu": 0.5, "ram": 0.75,
                    "disk": 0.1, "net_in": number % 1_000, "net_out": number % 500, "temperature": 60}),
                )
            }
            54..68 => {
                let status = ["online", "busy", "offline", "idle"][usize::try_from(number % 4).unwrap_or(0)];
                ("agents", "agent.event.status", json!({"agent_id": agent, "status": status}))
            }
            68..80 => (
                "messaging",
                "messaging.message.created",
                json!({"message_id": format!("m-{number}"),
                "channel_id": format!("channel:{}", number % 40), "sender_id": agent, "sender_type": "agent"}),
            ),
            80..88 => ("agents", "agents.reply", json!({"agent_id": agent, "tokens_used": number % 900})),
            88..92 => ("usage", "usage.agent", json!({"agent_id": agent, "trigger": "message", "duration_ms": number})),
            92..95 => (
                "usage",
                "usage.tool",
                json!({"agent_id": agent, "tool_id": "search", "tool_name": "search",
                "success": true, "latency_ms": number % 900}),
            ),
            95..97 => ("agents", "agent.event.tool_call", json!({"agent_id": agent, "tool": "search"})),
            97 => ("agents", "agent.event.error", json!({"agent_id": agent, "error": "timeout"})),
            98 => {
                let dao = format!("dao:dao-{}", self.numbers.skewed(self.daos));
                (
                    "dao",
                    "dao.event.vote_cast",
                    json!({"dao_id": dao, "proposal_id": format!("p-{number}"), "weight": 1}),
                )
            }
            _ => {
                let id = format!("microdao:{}", self.numbers.skewed(self.microdaos));
                (
                    "microdao",
                    "microdao.event.member_added",
                    json!({"microdao_id": id, "member_id": format!("u-{number}")}),
                )
            }
        }
    }
}
