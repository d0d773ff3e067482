//! Number of active agents in a time window: all of them, and those using each model, provider and tool.

use crate::model::Experience;

/// Fields of an experience by which agents are grouped.
pub const DIMENSIONS: [&str; 3] = ["model", "provider", "tool"];

/// Distinct names of one dimension in one window: an agent has a bit for each.
const MAX_NAMES: usize = 64;

/// The names of an experience in each of the [`DIMENSIONS`].
#[must_use]
pub fn dimensions(experience: &Experience) -> [Option<&str>; DIMENSIONS.len()] {
    [experience.model.as_deref(), experience.provider.as_deref(), experience.tool.as_deref()]
}

/// Agents in the current window and the previous one. Windows are counted from 1970.
#[derive(Debug, Default)]
pub struct AgentCounts {
    window: i64,
    all: TwoWindows,
    names: [Vec<(Box<str>, TwoWindows)>; DIMENSIONS.len()],
}

/// Number of agents in each of the two windows.
#[derive(Debug, Clone, Copy, Default)]
struct TwoWindows {
    current: u32,
    previous: u32,
}

impl TwoWindows {
    const fn advanced(self, is_next: bool) -> Self {
        Self { current: 0, previous: if is_next { self.current } else { 0 } }
    }

    /// The larger one: the current window is incomplete.
    fn max(self) -> u32 {
        self.current.max(self.previous)
    }
}

/// Names already counted for one agent in the current window.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    window: i64,
    /// A bit for each name of a dimension.
    names: [u64; DIMENSIONS.len()],
}

impl AgentCounts {
    /// Counts the agent of an experience, once in a window for each name.
    pub fn add(&mut self, experience: &Experience, counted: &mut Counted, logged: i64, window_ms: i64) {
        let window = logged.div_euclid(window_ms.max(1));
        if window > self.window {
            self.advance(window);
        }
        if counted.window < self.window {
            *counted = Counted { window: self.window, ..Counted::default() };
            self.all.current += 1;
        }
        for ((name, names), bits) in dimensions(experience).into_iter().zip(&mut self.names).zip(&mut counted.names) {
            let Some(name) = name else { continue };
            let index = names.iter().position(|(known, _)| **known == *name).or_else(|| {
                (names.len() < MAX_NAMES).then(|| {
                    names.push((name.into(), TwoWindows::default()));
                    names.len() - 1
                })
            });
            if let Some(index) = index.filter(|index| *bits & (1 << index) == 0) {
                *bits |= 1 << index;
                names[index].1.current += 1;
            }
        }
    }

    fn advance(&mut self, window: i64) {
        let is_next = window == self.window + 1;
        self.window = window;
        self.all = self.all.advanced(is_next);
        for names in &mut self.names {
            for (_, agents) in names.iter_mut() {
                *agents = agents.advanced(is_next);
            }
            // this changes the meaning of bits, which is safe: every agent's bits are reset for the new window
            names.retain(|(_, agents)| agents.previous > 0);
        }
    }

    /// Number of agents.
    #[must_use]
    pub fn agents(&self) -> u32 {
        self.all.max()
    }

    /// Number of agents with this name in a dimension, an index of [`DIMENSIONS`].
    #[must_use]
    pub fn agents_with(&self, dimension: usize, name: &str) -> u32 {
        let known = self.names.get(dimension).and_then(|names| names.iter().find(|(known, _)| **known == *name));
        known.map_or(0, |(_, agents)| agents.max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::testing::experience;
    use crate::model::Outcome;

    #[test]
    fn an_agent_counts_once_in_a_window_for_each_name() {
        let mut counts = AgentCounts::default();
        let mut agents = [Counted::default(); 10];
        let mut add = |counts: &mut AgentCounts, agent: usize, model: &str, logged| {
            let mut one = experience(Outcome::Ok, 0);
            one.model = Some(model.into());
            counts.add(&one, &mut agents[agent], logged, 100);
        };
        for n in 0..30 {
            add(&mut counts, n % 10, if n % 2 == 0 { "even" } else { "odd" }, 110);
        }
        add(&mut counts, 1, "even", 120);
        let values =
            |counts: &AgentCounts| (counts.agents(), counts.agents_with(0, "even"), counts.agents_with(0, "odd"));
        assert_eq!(values(&counts), (10, 6, 5));
        add(&mut counts, 1, "even", 210);
        assert_eq!(values(&counts), (10, 6, 5), "the previous window has more");
        add(&mut counts, 1, "even", 310);
        assert_eq!(values(&counts), (1, 1, 0));
        for n in 0..1_000 {
            add(&mut counts, 0, &format!("m{n}"), 310);
        }
        assert!(counts.names[0].len() <= MAX_NAMES);
        add(&mut counts, 0, "even", 999_999);
        assert_eq!(values(&counts), (1, 1, 0), "much later");
    }
}
