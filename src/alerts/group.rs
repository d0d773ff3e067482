//! One alert of a rule: from when what it is about is wrong until it is right again, both for long enough.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::rules::{Kind, Rule, Test};
use super::window::Window;

/// What a rule knows about one of its groups.
#[derive(Debug, Clone)]
pub struct Group {
    pub entity_id: Option<String>,
    /// The last value, of rules that look at one.
    pub value: Value,
    window: Option<Window>,
    /// Since when it is known.
    born: DateTime<Utc>,
    /// When it was heard of last.
    pub heard: DateTime<Utc>,
    phase: Phase,
    /// Of an alert that was taken over: what is missing in a window that begins empty is no reason to clear it.
    hold_until: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Clear,
    /// It has been wrong since then, not for long enough.
    Pending(DateTime<Utc>),
    /// The alert is raised; what it is about has been wrong since then.
    Firing(DateTime<Utc>),
    /// It is raised, and has been right since the second time, not for long enough.
    Clearing(DateTime<Utc>, DateTime<Utc>),
}

/// What is to be told of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has been wrong since then.
    Raised(DateTime<Utc>),
    /// What has been wrong since then is over.
    Cleared(DateTime<Utc>),
}

impl Group {
    pub fn new(rule: &Rule, entity_id: Option<String>, now: DateTime<Utc>) -> Self {
        let window = match rule.kind {
            Kind::Rate { window } => Some(Window::new(window)),
            _ => None,
        };
        let phase = Phase::Clear;
        Self { entity_id, value: Value::Null, window, born: now, heard: now, phase, hold_until: None }
    }

    /// One whose alert is raised already.
    pub fn adopted(rule: &Rule, entity_id: Option<String>, raised_at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let hold_until = Some(now + rule.span());
        Self { phase: Phase::Firing(raised_at), hold_until, ..Self::new(rule, entity_id, now) }
    }

    pub const fn is_raised(&self) -> bool {
        matches!(self.phase, Phase::Firing(_) | Phase::Clearing(..))
    }

    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Clear
    }

    /// It was heard of.
    pub fn hear(&mut self, value: Value, at: DateTime<Utc>) {
        self.value = value;
        self.heard = self.heard.max(at);
        self.hold_until = self.hold_until.filter(|_| self.window.is_some());
        if let Some(window) = &mut self.window {
            window.add(at);
        }
    }

    /// Lets time pass.
    pub fn step(&mut self, rule: &Rule, now: DateTime<Utc>) -> Option<Turn> {
        let (wrong, since) = self.look(rule, now);
        let (phase, turn) = match (self.phase, wrong) {
            (Phase::Clear, true) if now - since >= rule.hold => (Phase::Firing(since), Some(Turn::Raised(since))),
            (Phase::Clear, true) => (Phase::Pending(since), None),
            (Phase::Pending(since), true) if now - since >= rule.hold => {
                (Phase::Firing(since), Some(Turn::Raised(since)))
            }
            (Phase::Pending(_), false) => (Phase::Clear, None),
            (Phase::Firing(since), false) if self.hold_until.is_some_and(|until| now < until) => {
                (Phase::Firing(since), None)
            }
            (Phase::Firing(since), false) if rule.clear_hold <= TimeDelta::zero() => {
                (Phase::Clear, Some(Turn::Cleared(since)))
            }
            (Phase::Firing(since), false) => (Phase::Clearing(since, now), None),
            (Phase::Clearing(since, _), true) => (Phase::Firing(since), None),
            (Phase::Clearing(since, from), false) if now - from >= rule.clear_hold => {
                (Phase::Clear, Some(Turn::Cleared(since)))
            }
            (phase, _) => (phase, None),
        };
        self.phase = phase;
        turn
    }

    /// Ends it, whatever it is about: its alert is over if there is one.
    pub fn end(&mut self) -> Option<Turn> {
        let (Phase::Firing(since) | Phase::Clearing(since, _)) = self.phase else { return None };
        self.phase = Phase::Clear;
        Some(Turn::Cleared(since))
    }

    /// Whether it is wrong, and if so, since when at the latest.
    fn look(&mut self, rule: &Rule, now: DateTime<Utc>) -> (bool, DateTime<Utc>) {
        let raised = self.is_raised();
        if let Kind::Absence { within } = rule.kind {
            let due = self.heard + within;
            return (now >= due, due);
        }
        let number = match &mut self.window {
            #[expect(clippy::cast_precision_loss, reason = "no window has so many events")]
            Some(window) => Some(window.count(now) as f64),
            None => self.value.as_f64(),
        };
        if self.window.is_some() {
            self.value = number.map_or(Value::Null, Value::from);
        }
        // before a whole window is known, nobody can say that there was too little in it
        let early = self.window.is_some() && matches!(rule.test, Test::Below { .. }) && now < self.born + rule.span();
        (!early && rule.test.is_wrong(&self.value, number, raised), now)
    }
}
