//! Whose run is whose: an event that ends a run may name the run alone.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// How many runs are remembered; of more at a time, the oldest ends unnoticed when its end does not name its agent.
const MOST: usize = 16_384;

/// The agents of runs under way, by the names of their runs. Part of the state, so that all replicas decide alike.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Runs {
    agents: BTreeMap<String, String>,
    order: VecDeque<String>,
}

impl Runs {
    /// Notes the agent of a run.
    pub(super) fn insert(&mut self, run: String, agent: String) {
        if self.agents.insert(run.clone(), agent).is_some() {
            return;
        }
        self.order.push_back(run);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.agents.remove(&oldest);
        }
    }

    /// The agent of a run.
    pub(super) fn agent(&self, run: &str) -> Option<&str> {
        self.agents.get(run).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_run_is_forgotten_first() {
        let mut runs = Runs::default();
        for number in 0..=MOST {
            runs.insert(format!("run-{number}"), "agent:a".to_owned());
            runs.insert(format!("run-{number}"), "agent:b".to_owned());
        }
        assert_eq!((runs.agent("run-0"), runs.agent("run-1")), (None, Some("agent:b")));
        assert_eq!((runs.agents.len(), runs.order.len()), (MOST, MOST));
    }
}
