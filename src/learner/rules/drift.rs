//! An agent is slower than it was: the answers of one block of time against its own in the blocks before.
//!
//! Latencies of sampled successes are averaged by their logarithms, so that one slow answer does not decide. A block is
//! judged when the next one begins. The block just before it is no part of the baseline: a change that comes slowly must not
//! be its own measure.

use std::collections::VecDeque;

use super::{Case, Finding, RuleConfig, moment, when, with};
use crate::learner::stats::{Moments, welch};
use crate::learner::window::{EVIDENCE, Reached};
use crate::model::{NewLesson, Severity};

/// Its name.
pub const NAME: &str = "drift";

/// An agent's latencies, by block.
#[derive(Debug, Default)]
pub struct Baseline {
    blocks: VecDeque<Block>,
    told: bool,
}

#[derive(Debug)]
struct Block {
    index: i64,
    logs: Moments,
    evidence: Vec<Box<str>>,
}

impl Baseline {
    /// Takes in a sampled success; the lesson that the block before it is worth, when it begins a new one. What comes for a
    /// block that was judged is late and changes nothing.
    pub fn add(&mut self, case: Case<'_>, config: &RuleConfig) -> Option<NewLesson> {
        let latency = case.experience.latency_ms.filter(|latency| *latency > 0.0)?;
        let index = case.at.div_euclid(config.drift.block_ms.max(1));
        let last = self.blocks.back().map(|block| block.index);
        if last.is_some_and(|last| index < last) {
            return None;
        }
        let mut lesson = None;
        if last != Some(index) {
            lesson = self.judge(case, config);
            self.blocks.push_back(Block { index, logs: Moments::default(), evidence: Vec::new() });
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

    fn judge(&mut self, case: Case<'_>, config: &RuleConfig) -> Option<NewLesson> {
        let drift = &config.drift;
        let recent = self.blocks.back()?;
        let before = || self.blocks.iter().filter(|block| block.index <= recent.index - 2);
        let baseline = before().fold(Moments::default(), |sum, block| sum.with(block.logs));
        if recent.logs.count < drift.min_recent || baseline.count < drift.min_baseline {
            return None;
        }
        let ratio = (recent.logs.mean() - baseline.mean()).exp();
        let drifted = ratio >= drift.min_ratio && welch(recent.logs, baseline) >= drift.min_z;
        if std::mem::replace(&mut self.told, drifted) || !drifted {
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
            when(began),
            when(ended),
            recent.logs.count,
            baseline.mean().exp(),
            when(since),
            baseline.count,
            with(case.experience),
        );
        debug_assert!(moment(began) <= moment(ended));
        let finding = Finding {
            agent: Some(agent),
            rule: NAME,
            signature: "latency",
            severity: Severity::Medium,
            title: "Slower than it was".to_owned(),
            text,
            began,
            reached: Reached {
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
    use super::super::testing::{case, experience};
    use super::*;
    use crate::model::Outcome;

    const BLOCK: i64 = 21_600;

    /// Blocks of answers around these latencies; the numbers of the blocks after which a lesson was told.
    fn told(latencies: &[f64], answers: i64) -> Vec<usize> {
        let (config, mut baseline) = (RuleConfig::default(), Baseline::default());
        let mut told = Vec::new();
        for (block, latency) in latencies.iter().enumerate() {
            for n in 0..answers {
                let begins = i64::try_from(block).unwrap() * BLOCK;
                let mut answer = experience(Outcome::Ok, begins + n * (BLOCK / answers));
                answer.latency_ms = Some(latency * [0.6, 0.8, 1.0, 1.25, 1.6][usize::try_from(n % 5).unwrap()]);
                if let Some(lesson) = baseline.add(case(&answer), &config) {
                    assert!(lesson.text.contains("times its"), "{}", lesson.text);
                    told.push(block);
                }
            }
        }
        told
    }

    #[test]
    fn a_slow_rise_is_told_once_when_it_is_certain() {
        let slowly: Vec<f64> = (0..12).map(|n| 500.0 * 1.15_f64.powi(n)).collect();
        assert_eq!(told(&slowly, 40).len(), 1);
        assert_eq!(told(&[500.0; 12], 40), [] as [usize; 0]);
        assert_eq!(told(&[500.0, 500.0, 500.0, 500.0, 520.0, 560.0, 540.0, 510.0], 40), [] as [usize; 0]);
    }

    #[test]
    fn a_handful_says_nothing() {
        assert_eq!(told(&[500.0, 500.0, 500.0, 500.0, 5_000.0, 5_000.0], 10), [] as [usize; 0]);
    }
}
