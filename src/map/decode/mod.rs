//! Decodes events into assertions, without access to the state.
//!
//! One file for each family of subjects. Unknown subjects and payloads without the expected fields have no meaning.

mod agent;
pub(super) mod alert;
pub(super) mod assertion;
mod city;
mod dao;
mod lesson;
mod messaging;
mod microdao;
mod node;
pub(super) mod poll;
mod reader;
mod run;
mod usage;

use chrono::{DateTime, Utc};

use crate::model::Event;
use crate::model::subject::is_dead_letter;

use assertion::{AlertOperation, Decoded};
use reader::EventReader;

/// Decodes an event. `time` is the producer's, at most the log's.
pub(super) fn event(event: &Event, time: DateTime<Utc>) -> Decoded<'_> {
    let Some(reader) = EventReader::new(event).filter(|_| !is_dead_letter(&event.event_type)) else {
        return Decoded::Nothing;
    };
    let tokens: Vec<&str> = event.event_type.split('.').collect();
    match tokens.as_slice() {
        ["dao", "event", kind] => dao::event(reader, kind).into(),
        ["microdao", "event", kind] => microdao::event(reader, kind).into(),
        ["node", "metrics", ..] => node::metrics(reader).into(),
        ["agent", "event", kind] => agent::event(reader, kind).into(),
        ["agent", "reply", "sent"] => agent::runtime(reader, "reply").into(),
        ["agent", "lesson", "v1"] => lesson::event(reader).into(),
        ["agent", "error"] => agent::runtime(reader, "error").into(),
        ["agents", "runs", kind] | ["agent", "run", kind] => run::event(reader, kind, None).into(),
        ["agent", "run", kind, rest @ ..] => run::event(reader, kind, Some(&rest.join("."))).into(),
        ["agents", kind] => agent::runtime(reader, kind).into(),
        ["usage", "llm", "increment"] => usage::increment(reader),
        ["usage", "llm", ..] => usage::llm(reader),
        ["usage", "agent" | "agent_run" | "tool", ..] => usage::work(reader).into(),
        ["messaging", "message", "created"] => messaging::created(reader),
        ["message", kind, ..] => messaging::of_agent(reader, kind),
        ["memory" | "attachment", ..] => agent::activity(reader, None).into(),
        ["city", "event", ..] => city::event(reader).into(),
        ["ops" | "living_map", "alert", ..] => {
            alert::read(reader, &tokens, time).map_or(Decoded::Nothing, Decoded::Alert)
        }
        ["living_map", "sync", service] => poll::part(service, reader.payload).map_or(Decoded::Nothing, Decoded::Poll),
        _ => Decoded::Nothing,
    }
}

/// Decodes an event about alerts, as [`event`] does; none for any other event.
pub(super) fn alert_operation(event: &Event, time: DateTime<Utc>) -> Option<AlertOperation> {
    let reader = EventReader::new(event).filter(|_| !is_dead_letter(&event.event_type))?;
    let tokens: Vec<&str> = event.event_type.split('.').collect();
    alert::read(reader, &tokens, time)
}

#[cfg(test)]
mod tests {
    use crate::model::subject::{MAP_SUBJECTS, NETWORK_SUBJECTS, Pattern, is_dead_letter};

    /// Subjects that are recorded and have no effect on the map.
    const WITHOUT_EFFECT: &[&str] =
        &["config.updated.>", "policy.updated.>", "prompt.updated.>", "audit.>", "agent.experience.v1.>"];

    /// Subjects that the services of the network publish, as far as they concern the map.
    const PUBLISHED: &[&str] = &[
        "agent.error",
        "agent.event.created",
        "agent.event.error",
        "agent.event.reply_sent",
        "agent.event.status",
        "agent.event.tool_call",
        "agent.event.updated",
        "agent.reply.sent",
        "agent.run.completed.sofia",
        "agent.run.failed.sofia",
        "agent.run.progress.task-1",
        "agent.run.requested",
        "agent.run.started.sofia",
        "agents.activity",
        "agents.error",
        "agents.invoke",
        "agents.reply",
        "agents.runs.created",
        "agents.runs.finished",
        "agents.telemetry",
        "city.event.agent_joined",
        "city.event.quest_completed",
        "city.event.room.entered",
        "dao.event.created",
        "dao.event.member_added",
        "dao.event.proposal_closed",
        "dao.event.proposal_created",
        "dao.event.treasury_updated",
        "dao.event.updated",
        "dao.event.vote_cast",
        "memory.graph.updated.sofia",
        "message.received.sofia",
        "messaging.message.created",
        "microdao.event.created",
        "microdao.event.member_added",
        "microdao.event.member_removed",
        "microdao.event.member_role_updated",
        "microdao.event.settings_updated",
        "microdao.event.treasury_updated",
        "microdao.event.updated",
        "node.metrics.node-03",
        "node.metrics.update",
        "ops.alert.critical",
        "ops.health.gateway",
        "usage.agent",
        "usage.agent.invocation",
        "usage.agent_run.increment",
        "usage.llm",
        "usage.llm.completed",
        "usage.llm.increment",
        "usage.tool",
    ];

    /// The subjects of the arms of `event`: `x` for a token that may be anything, `..` for nothing and for one token.
    fn decoded_subjects() -> Vec<String> {
        let (_, arms) = include_str!("mod.rs").split_once("match tokens.as_slice() {").expect("the match");
        let (arms, _) = arms.split_once("_ => Decoded::Nothing").expect("its last arm");
        let mut subjects = Vec::new();
        for arm in arms.lines().map(str::trim).filter(|line| line.starts_with('[')) {
            let (patterns, _) = arm.split_once(" => ").expect("an arm");
            for pattern in patterns.split('[').skip(1).filter_map(|rest| Some(rest.split_once(']')?.0)) {
                let mut alternatives: Vec<Vec<&str>> = vec![Vec::new()];
                for token in pattern.split(", ") {
                    let literals: Vec<&str> = token.split('"').skip(1).step_by(2).collect();
                    let tokens: Vec<Option<&str>> = match literals.as_slice() {
                        [] if token.contains("..") => vec![None, Some("x")],
                        [] => vec![Some("x")],
                        literals => literals.iter().copied().map(Some).collect(),
                    };
                    let mut longer: Vec<Vec<&str>> = Vec::new();
                    for one in &alternatives {
                        longer.extend(tokens.iter().map(|token| one.iter().copied().chain(*token).collect()));
                    }
                    alternatives = longer;
                }
                subjects.extend(alternatives.into_iter().map(|tokens| tokens.join(".")));
            }
        }
        subjects
    }

    fn recorded() -> Vec<Pattern> {
        MAP_SUBJECTS.iter().chain(NETWORK_SUBJECTS).map(|subject| subject.parse().unwrap()).collect()
    }

    #[test]
    fn every_decoded_subject_is_recorded_by_a_stream() {
        let (decoded, recorded) = (decoded_subjects(), recorded());
        assert!(decoded.len() > 30, "the search finds too little: {decoded:?}");
        let is_recorded = |subject: &str| recorded.iter().any(|pattern| pattern.matches(subject));
        // a family's name alone is no published subject
        let missing: Vec<_> =
            decoded.iter().filter(|subject| subject.contains(".x") && !is_recorded(subject)).collect();
        assert!(missing.is_empty(), "no stream has {missing:?}");
        let missing: Vec<_> = PUBLISHED.iter().filter(|subject| !is_recorded(subject)).collect();
        assert!(missing.is_empty(), "no stream has {missing:?}, which services publish");
    }

    #[test]
    fn every_recorded_subject_is_decoded_or_known_to_have_no_effect() {
        let decoded = decoded_subjects();
        let unknown: Vec<_> = recorded()
            .into_iter()
            .filter(|pattern| !decoded.iter().any(|subject| pattern.matches(subject)))
            .filter(|pattern| !is_dead_letter(pattern.as_str()) && !WITHOUT_EFFECT.contains(&pattern.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?} are recorded, and no reducer reads them");
    }
}
