//! Agents by the ids of their runs: an event may name its run without naming the agent.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Most runs that are remembered. Beyond it the oldest is dropped: events that name only that run are ignored.
const MAX_RUNS: usize = 16_384;

/// Agents by run id. Part of the state, so that all replicas decide alike.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::map) struct Runs {
    agents: BTreeMap<String, String>,
    order: VecDeque<String>,
}

impl Runs {
    /// Records the agent of a run.
    pub(in crate::map) fn insert(&mut self, run: String, agent: String) {
        if self.agents.insert(run.clone(), agent).is_some() {
            return;
        }
        self.order.push_back(run);
        if self.order.len() > MAX_RUNS
            && let Some(oldest) = self.order.pop_front()
        {
            self.agents.remove(&oldest);
        }
    }

    /// The agent of a run.
    pub(in crate::map) fn agent(&self, run: &str) -> Option<&str> {
        self.agents.get(run).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_run_is_forgotten_first() {
        let mut runs = Runs::default();
        for number in 0..=MAX_RUNS {
            runs.insert(format!("run-{number}"), "agent:a".to_owned());
            runs.insert(format!("run-{number}"), "agent:b".to_owned());
        }
        assert_eq!((runs.agent("run-0"), runs.agent("run-1")), (None, Some("agent:b")));
        assert_eq!((runs.agents.len(), runs.order.len()), (MAX_RUNS, MAX_RUNS));
    }
}
