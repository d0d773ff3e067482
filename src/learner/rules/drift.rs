//! An agent that is slower than its own baseline: compares one block of time with the earlier blocks.
//!
//! Averages the logarithms of the latencies of sampled successes, so that one slow answer does not decide. Evaluates a
//! block when the next one begins. The block just before it is not part of the baseline, so that a gradual change does
//! not hide itself.

use std::collections::VecDeque;

use super::{Case, Finding, RuleConfig, time_text, timestamp, with_text};
use crate::learner::occurrences::{EVIDENCE, Occurrences};
use crate::learner::stats::{RunningStats, welch};
use crate::model::{NewLesson, Severity};

/// Name of the rule.
pub const NAME: &str = "drift";

/// Latencies of an agent, by block.
#[derive(Debug, Default)]
pub struct LatencyHistory {
    blocks: VecDeque<Block>,
    reported: bool,
}

#[derive(Debug)]
struct Block {
    index: i64,
    logs: RunningStats,
    evidence: Vec<Box<str>>,
}

impl LatencyHistory {
    /// Adds a sampled success. When it begins a new block, returns the lesson of the block before, if there is one.
    /// Ignores late successes of earlier blocks.
    pub fn add(&mut self, case: Case<'_>, config: &RuleConfig) -> Option<NewLesson> {
        let latency = case.experience.latency_ms.filter(|latency| *latency > 0.0)?;
        let index = case.at.div_euclid(config.drift.block_ms.max(1));
        let last = self.blocks.back().map(|block| block.index);
        if last.is_some_and(|last| index < last) {
            return None;
        }
        let mut lesson = None;
        if last != Some(index) {
            lesson = self.evaluate(case, config);
            self.blocks.push_back(Block { index, logs: RunningStats::default(), evidence: Vec::new() });
            while self.blocks.front().is_some_and(|block| block.index < index - config.drift.blocks) {
                self.blocks.pop_front();
            }
        }
        let block = self.blocks.back_mut()?;
        block.logs.add(latency.ln());
        if block.evidence.len() < EVIDENCE {
            block.evidence.push(case.experience.event_id.as_str().into());
        }
        lesson
    }

    fn evaluate(&mut self, case: Case<'_>, config: &RuleConfig) -> Option<NewLesson> {
        let drift = &config.drift;
        let recent = self.blocks.back()?;
        let before = || self.blocks.iter().filter(|block| block.index <= recent.index - 2);
        let baseline = before().fold(RunningStats::default(), |sum, block| sum.combined(block.logs));
        if recent.logs.count < drift.min_recent || baseline.count < drift.min_baseline {
            return None;
        }
        let ratio = (recent.logs.mean() - baseline.mean()).exp();
        let drifted = ratio >= drift.min_ratio && welch(recent.logs, baseline) >= drift.min_z;
        if std::mem::replace(&mut self.reported, drifted) || !drifted {
            return None;
        }
        let recent = self.blocks.back()?;
        let began = recent.index.saturating_mul(drift.block_ms);
        let ended = began.saturating_add(drift.block_ms);
        let since = self.blocks.front().map_or(began, |block| block.index.saturating_mul(drift.block_ms));
        let agent = &*case.experience.agent_id;
        let text = format!(
            "{agent} became slower: {:.0} ms on average from {} to {} ({} sampled answers), {ratio:.1} times its {:.0} ms \
             since {} ({} answers){}. Look for what grew meanwhile: the context, the load of its model or tool, the data it \
             searches.",
            recent.logs.mean().exp(),
            time_text(began),
            time_text(ended),
            recent.logs.count,
            baseline.mean().exp(),
            time_text(since),
            baseline.count,
            with_text(case.experience),
        );
        debug_assert!(timestamp(began) <= timestamp(ended));
        let finding = Finding {
            agent: Some(agent),
            rule: NAME,
            signature: "latency",
            severity: Severity::Medium,
            title: "Slower than it was".to_owned(),
            text,
            began,
            occurrences: Occurrences {
                first: began,
                last: ended,
                count: usize::try_from(recent.logs.count).unwrap_or(usize::MAX),
                evidence: recent.evidence.iter().map(ToString::to_string).collect(),
            },
        };
        Some(finding.lesson(case.logged, config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::testing::{case, experience};
    use crate::model::Outcome;

    const BLOCK: i64 = 21_600;

    /// Simulates a block of answers around each latency. Returns the indices of the blocks with a lesson.
    fn reported(latencies: &[f64], answers: i64) -> Vec<usize> {
        let (config, mut history) = (RuleConfig::default(), LatencyHistory::default());
        let mut reported = Vec::new();
        for (block, latency) in latencies.iter().enumerate() {
            for n in 0..answers {
                let begins = i64::try_from(block).unwrap() * BLOCK;
                let mut answer = experience(Outcome::Ok, begins + n * (BLOCK / answers));
                answer.latency_ms = Some(latency * [0.6, 0.8, 1.0, 1.25, 1.6][usize::try_from(n % 5).unwrap()]);
                if let Some(lesson) = history.add(case(&answer), &config) {
                    assert!(lesson.text.contains("times its"), "{}", lesson.text);
                    reported.push(block);
                }
            }
        }
        reported
    }

    #[test]
    fn a_gradual_rise_is_reported_once_when_it_is_certain() {
        let slowly: Vec<f64> = (0..12).map(|n| 500.0 * 1.15_f64.powi(n)).collect();
        assert_eq!(reported(&slowly, 40).len(), 1);
        assert_eq!(reported(&[500.0; 12], 40), [] as [usize; 0]);
        assert_eq!(reported(&[500.0, 500.0, 500.0, 500.0, 520.0, 560.0, 540.0, 510.0], 40), [] as [usize; 0]);
    }

    #[test]
    fn too_few_answers_are_not_evaluated() {
        assert_eq!(reported(&[500.0, 500.0, 500.0, 500.0, 5_000.0, 5_000.0], 10), [] as [usize; 0]);
    }
}
