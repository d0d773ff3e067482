//! State of one group of a rule: the phases of its alert.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::rule::{Condition, Rule, RuleKind};
use super::sliding_window::SlidingWindow;

/// State of one group of a rule.
#[derive(Debug, Clone)]
pub struct Group {
    pub entity_id: Option<String>,
    /// The latest value; of a rate, the count.
    pub value: Value,
    window: Option<SlidingWindow>,
    created_at: DateTime<Utc>,
    /// Time of the latest observation.
    pub last_seen: DateTime<Utc>,
    phase: Phase,
    /// An adopted alert is not cleared before this time: its window begins empty.
    hold_until: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Clear,
    /// The condition has held since this time, not for long enough yet.
    Pending(DateTime<Utc>),
    /// The alert is raised; the condition has held since this time.
    Firing(DateTime<Utc>),
    /// The alert is raised; its condition, which held from the first time on, has not held since the second time.
    Clearing(DateTime<Utc>, DateTime<Utc>),
}

/// A change of a group's alert, with the time since which the condition held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    Raised(DateTime<Utc>),
    Cleared(DateTime<Utc>),
}

impl Group {
    pub fn new(rule: &Rule, entity_id: Option<String>, now: DateTime<Utc>) -> Self {
        let window = match rule.kind {
            RuleKind::Rate { window } => Some(SlidingWindow::new(window)),
            _ => None,
        };
        let phase = Phase::Clear;
        Self { entity_id, value: Value::Null, window, created_at: now, last_seen: now, phase, hold_until: None }
    }

    /// A group whose alert is already raised.
    pub fn adopted(rule: &Rule, entity_id: Option<String>, raised_at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let hold_until = Some(now + rule.lookback());
        Self { phase: Phase::Firing(raised_at), hold_until, ..Self::new(rule, entity_id, now) }
    }

    pub const fn is_raised(&self) -> bool {
        matches!(self.phase, Phase::Firing(_) | Phase::Clearing(..))
    }

    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Clear
    }

    /// Takes in an event of the group.
    pub fn observe(&mut self, value: Value, at: DateTime<Utc>) {
        self.value = value;
        self.last_seen = self.last_seen.max(at);
        self.hold_until = self.hold_until.filter(|_| self.window.is_some());
        if let Some(window) = &mut self.window {
            window.add(at);
        }
    }

    /// Evaluates the rule at `now`.
    pub fn step(&mut self, rule: &Rule, now: DateTime<Utc>) -> Option<Transition> {
        let (holds, since) = self.evaluate(rule, now);
        let (phase, transition) = match (self.phase, holds) {
            (Phase::Clear, true) if now - since >= rule.hold => (Phase::Firing(since), Some(Transition::Raised(since))),
            (Phase::Clear, true) => (Phase::Pending(since), None),
            (Phase::Pending(since), true) if now - since >= rule.hold => {
                (Phase::Firing(since), Some(Transition::Raised(since)))
            }
            (Phase::Pending(_), false) => (Phase::Clear, None),
            (Phase::Firing(since), false) if self.hold_until.is_some_and(|until| now < until) => {
                (Phase::Firing(since), None)
            }
            (Phase::Firing(since), false) if rule.clear_hold <= TimeDelta::zero() => {
                (Phase::Clear, Some(Transition::Cleared(since)))
            }
            (Phase::Firing(since), false) => (Phase::Clearing(since, now), None),
            (Phase::Clearing(since, _), true) => (Phase::Firing(since), None),
            (Phase::Clearing(since, from), false) if now - from >= rule.clear_hold => {
                (Phase::Clear, Some(Transition::Cleared(since)))
            }
            (phase, _) => (phase, None),
        };
        self.phase = phase;
        transition
    }

    /// Ends the group: clears its alert if it is raised.
    pub fn end(&mut self) -> Option<Transition> {
        let (Phase::Firing(since) | Phase::Clearing(since, _)) = self.phase else { return None };
        self.phase = Phase::Clear;
        Some(Transition::Cleared(since))
    }

    /// Evaluates the condition; the second value is the time since which it holds at the latest.
    fn evaluate(&mut self, rule: &Rule, now: DateTime<Utc>) -> (bool, DateTime<Utc>) {
        let raised = self.is_raised();
        if let RuleKind::Absence { within } = rule.kind {
            let due = self.last_seen + within;
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
        // a count below a bound means nothing before a whole window has been observed
        let early = self.window.is_some()
            && matches!(rule.condition, Condition::Below { .. })
            && now < self.created_at + rule.lookback();
        (!early && rule.condition.holds(&self.value, number, raised), now)
    }
}
