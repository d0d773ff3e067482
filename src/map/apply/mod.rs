//! Applies assertions to the state: facts, counters, runs, lessons, alerts, polls, and the passage of time.

mod agent;
pub(super) mod alerts;
mod expiry;
mod facts;
mod node;
mod poll;

use super::context::FoldContext;
use super::decode::assertion::{Assertion, Decoded, Operation};
use super::state::slab::EntityKey;

impl FoldContext<'_> {
    /// Applies the content of an event. False for a part of an upstream's answer of which more parts follow.
    pub(super) fn apply(&mut self, decoded: Decoded<'_>) -> bool {
        match decoded {
            Decoded::Nothing => {}
            Decoded::Entity(assertion) => self.apply_assertion(assertion),
            Decoded::Entities(assertions) => {
                for assertion in assertions {
                    self.apply_assertion(assertion);
                }
            }
            Decoded::ModelUsage { counts, agent } => {
                self.state.network_usage.add(self.hour, counts);
                if let Some(agent) = agent {
                    self.apply_assertion(agent);
                }
            }
            Decoded::Alert(operation) => self.apply_alert(operation),
            Decoded::Poll(part) => return self.apply_poll(part),
        }
        true
    }

    fn apply_assertion(&mut self, assertion: Assertion<'_>) {
        let Some(key) = self.resolve(assertion.entity) else { return };
        for operation in assertion.operations {
            self.apply_operation(key, operation);
        }
    }

    fn apply_operation(&mut self, key: EntityKey, operation: Operation<'_>) {
        match operation {
            Operation::Set(field, value) => self.set(key, field, value),
            Operation::Hint(field, value) => self.hint(key, field, value),
            Operation::AddSlug(slug) => self.add_slug(key, slug),
            Operation::Delete => self.delete(key),
            Operation::Activity => self.activity(key),
            Operation::Count(counts) => self.count(key, counts),
            Operation::Outcome { success } => self.outcome(key, success),
            Operation::Step { field, up } => self.step(key, field, up),
            Operation::TokenBalance { token, balance } => self.set_token_balance(key, token, balance),
            Operation::OpenProposal(id) => self.open_proposal(key, id),
            Operation::CloseProposal(id) => self.close_proposal(key, &id),
            Operation::Metrics(metrics) => self.metrics(key, metrics),
            Operation::StartRun { ids } => self.start_run(key, &ids),
            Operation::ProgressRun { ids, progress } => self.progress_run(key, &ids, progress),
            Operation::EndRun { ids } => self.end_run(key, &ids),
            Operation::Lesson { key: lesson, open, supersedes } => self.lesson(key, lesson, open, supersedes),
        }
    }
}
