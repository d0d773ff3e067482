//! The lesson about a common cause: what the affected agents have in common, and its text.

use std::collections::BTreeMap;

use super::affected::AffectedAgent;
use super::{NAME, Problem, RuleConfig};
use crate::learner::agent_counts::{AgentCounts, DIMENSIONS};
use crate::learner::occurrences::{EVIDENCE, Occurrences};
use crate::learner::rules::{Finding, duration_text, error_burst, silent, time_text};
use crate::model::{NewLesson, Severity};

/// Agents that the text names.
const NAMED: usize = 5;
/// Percentage of the affected agents that must share a name for it to be common.
const COMMON_PCT: usize = 80;

/// A name that most affected agents share.
struct CommonName {
    /// For example `model m1`.
    text: String,
    /// Affected agents with this name.
    affected: usize,
    /// All agents with this name.
    all: u32,
}

fn common_names(affected: &[&AffectedAgent], counts: &AgentCounts) -> Vec<CommonName> {
    let mut common = Vec::new();
    for (index, dimension) in DIMENSIONS.iter().enumerate() {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for name in affected.iter().filter_map(|agent| agent.names[index].as_deref()) {
            *names.entry(name).or_default() += 1;
        }
        let most = names.into_iter().max_by_key(|(_, count)| *count);
        if let Some((name, count)) = most.filter(|(_, count)| count * 100 >= affected.len() * COMMON_PCT) {
            let all = counts.agents_with(index, name);
            common.push(CommonName { text: format!("{dimension} {name}"), affected: count, all });
        }
    }
    common
}

fn problem_text(rule: &str, signature: &str) -> String {
    match rule {
        error_burst::NAME => format!("fail again and again with '{signature}'"),
        silent::NAME => "give no answer again and again".to_owned(),
        _ => "are slow again and again".to_owned(),
    }
}

/// The lesson about the cause of the problem of these agents. None when they are too few of all agents and of those
/// with a common name.
pub(super) fn cause_lesson(
    (rule, signature): &Problem,
    affected: &[&AffectedAgent],
    counts: &AgentCounts,
    logged: i64,
    config: &RuleConfig,
) -> Option<NewLesson> {
    let first = affected.first()?;
    let is_many = |count: usize, of: u32| {
        let of = usize::try_from(of).unwrap_or(usize::MAX);
        count.saturating_mul(100) >= of.saturating_mul(config.shared.min_pct)
    };
    let count = affected.len();
    let common: Vec<String> = common_names(affected, counts)
        .into_iter()
        .filter(|name| is_many(name.affected, name.all))
        .map(|name| format!("{} ({} of the {} agents that work with it)", name.text, name.affected, name.all))
        .collect();
    if common.is_empty() && !is_many(count, counts.agents()) {
        return None;
    }
    let named: Vec<&str> = affected.iter().take(NAMED).map(|agent| &*agent.agent).collect();
    let others = match count - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let problem = problem_text(rule, signature);
    let advice = if common.is_empty() {
        let all = counts.agents();
        format!("They are {count} of all {all} agents: look at what all of them depend on.")
    } else {
        let common = common.join(", ");
        format!(
            "They have in common: {common}. Look there first, and use another where there is a choice while this lasts."
        )
    };
    let finding = Finding {
        agent: None,
        rule: NAME,
        signature: &format!("{rule}:{signature}"),
        severity: Severity::High,
        title: format!("Many agents {problem}"),
        text: format!(
            "{count} agents {problem}, since {}, within {}: {}{others}. {advice} Their own lessons name this one as their cause.",
            time_text(first.began),
            duration_text(logged - first.began),
            named.join(", "),
        ),
        began: first.began,
        occurrences: Occurrences {
            first: first.began,
            last: logged,
            count,
            evidence: affected.iter().take(EVIDENCE).map(|agent| agent.evidence.clone()).collect(),
        },
    };
    Some(finding.lesson(logged, config))
}
