//! With what agents work: how many agents were heard of in a window, and how many of them with which model, provider, tool.

use crate::model::Experience;

/// What agents work with.
pub const KINDS: [&str; 3] = ["model", "provider", "tool"];

/// Names of one kind that are told apart in one window: an agent has a bit for each.
const MAX_NAMES: usize = 64;

/// What an experience was made with, by [`KINDS`].
#[must_use]
pub fn with(experience: &Experience) -> [Option<&str>; KINDS.len()] {
    [experience.model.as_deref(), experience.provider.as_deref(), experience.tool.as_deref()]
}

/// The window at hand and the one before it, counted from 1970.
#[derive(Debug, Default)]
pub struct Exposure {
    window: i64,
    all: Agents,
    names: [Vec<(Box<str>, Agents)>; KINDS.len()],
}

/// Numbers of agents.
#[derive(Debug, Clone, Copy, Default)]
struct Agents {
    now: u32,
    before: u32,
}

impl Agents {
    const fn turned(self, is_next: bool) -> Self {
        Self { now: 0, before: if is_next { self.now } else { 0 } }
    }

    /// Of the window before as long as the one at hand has fewer.
    fn most(self) -> u32 {
        self.now.max(self.before)
    }
}

/// What one agent was counted for in the window at hand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    window: i64,
    names: [u64; KINDS.len()],
}

impl Exposure {
    /// An agent was heard of.
    pub fn add(&mut self, experience: &Experience, counted: &mut Counted, logged: i64, window_ms: i64) {
        let window = logged.div_euclid(window_ms.max(1));
        if window > self.window {
            let is_next = window == self.window + 1;
            self.window = window;
            self.all = self.all.turned(is_next);
            for names in &mut self.names {
                for (_, agents) in names.iter_mut() {
                    *agents = agents.turned(is_next);
                }
                // bits may change their meaning: every agent is counted anew
                names.retain(|(_, agents)| agents.before > 0);
            }
        }
        if counted.window < self.window {
            *counted = Counted { window: self.window, ..Counted::default() };
            self.all.now += 1;
        }
        for ((name, names), bits) in with(experience).into_iter().zip(&mut self.names).zip(&mut counted.names) {
            let Some(name) = name else { continue };
            let place = names.iter().position(|(known, _)| **known == *name).or_else(|| {
                (names.len() < MAX_NAMES).then(|| {
                    names.push((name.into(), Agents::default()));
                    names.len() - 1
                })
            });
            if let Some(place) = place.filter(|place| *bits & (1 << place) == 0) {
                *bits |= 1 << place;
                names[place].1.now += 1;
            }
        }
    }

    /// How many agents were heard of.
    #[must_use]
    pub fn agents(&self) -> u32 {
        self.all.most()
    }

    /// How many of them with this name of that kind (see [`KINDS`]).
    #[must_use]
    pub fn agents_with(&self, kind: usize, name: &str) -> u32 {
        let known = self.names.get(kind).and_then(|names| names.iter().find(|(known, _)| **known == *name));
        known.map_or(0, |(_, agents)| agents.most())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::testing::experience;
    use super::*;
    use crate::model::Outcome;

    #[test]
    fn an_agent_counts_once_in_a_window_for_each_name() {
        let mut exposure = Exposure::default();
        let mut agents = [Counted::default(); 10];
        let mut add = |exposure: &mut Exposure, agent: usize, model: &str, logged| {
            let mut one = experience(Outcome::Ok, 0);
            one.model = Some(model.into());
            exposure.add(&one, &mut agents[agent], logged, 100);
        };
        for n in 0..30 {
            add(&mut exposure, n % 10, if n % 2 == 0 { "even" } else { "odd" }, 110);
        }
        add(&mut exposure, 1, "even", 120);
        let seen =
            |exposure: &Exposure| (exposure.agents(), exposure.agents_with(0, "even"), exposure.agents_with(0, "odd"));
        assert_eq!(seen(&exposure), (10, 6, 5));
        add(&mut exposure, 1, "even", 210);
        assert_eq!(seen(&exposure), (10, 6, 5), "the window before has more");
        add(&mut exposure, 1, "even", 310);
        assert_eq!(seen(&exposure), (1, 1, 0));
        for n in 0..1_000 {
            add(&mut exposure, 0, &format!("m{n}"), 310);
        }
        assert!(exposure.names[0].len() <= MAX_NAMES);
        add(&mut exposure, 0, "even", 999_999);
        assert_eq!(seen(&exposure), (1, 1, 0), "long after");
    }
}
