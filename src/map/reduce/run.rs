//! `agent.run.*` and `agents.runs.*`: what an agent is busy with.
//!
//! An agent shows one run, the last that began. The end of another one is a sign of life only.

use serde_json::Value;

use super::About;
use super::agent::{alive, outcome};
use crate::map::entity::{Key, Run};
use crate::map::fold::{Assertion, Fold};
use crate::map::names::{Name, NameKind};
use crate::model::EntityType;
use crate::model::layers::CurrentRun;

/// The names by which payloads call a run.
const RUN_IDS: [&str; 3] = ["run_id", "agent_run_id", "task_id"];

/// One event of a run. `last` is what stands behind the kind in the subject: the agent, or of progress the task.
pub(super) fn event(fold: &mut Fold<'_>, about: About<'_>, kind: &str, last: Option<&str>) {
    let named: Vec<String> = RUN_IDS.iter().filter_map(|name| about.id(name)).collect();
    match kind {
        "requested" => {
            alive(fold, about, None);
        }
        "created" | "started" => {
            if let Some(key) = alive(fold, about, None) {
                begin(fold, key, &named);
            }
        }
        "progress" => {
            let task = last.map(str::to_owned);
            if let Some(key) = agent_of(fold, about, named.iter().chain(&task)) {
                let ids: Vec<&String> = named.iter().chain(&task).collect();
                progress(fold, key, &ids, about.number("progress"));
            }
        }
        "completed" | "failed" | "finished" => {
            let Some(key) = agent_of(fold, about, named.iter()) else { return };
            let success = about.get("success").and_then(Value::as_bool);
            let success =
                if kind == "finished" { success } else { Some(kind == "completed" && success != Some(false)) };
            end(fold, key, &named);
            if let Some(success) = success {
                outcome(fold, key, success);
            }
        }
        _ => {}
    }
}

/// The event's agent: the one it names, else the one whose run it names.
fn agent_of<'a>(fold: &mut Fold<'_>, about: About<'_>, mut runs: impl Iterator<Item = &'a String>) -> Option<Key> {
    if about.event.entity_type == Some(EntityType::Agent) {
        return alive(fold, about, None);
    }
    let agent = runs.find_map(|run| fold.state.runs.agent(run))?.to_owned();
    let name = Name::read(EntityType::Agent, &agent, NameKind::External);
    let key = fold.ensure(EntityType::Agent, name.as_slice(), Assertion::Passing)?;
    fold.active(key);
    Some(key)
}

fn begin(fold: &mut Fold<'_>, key: Key, named: &[String]) {
    let (time, hour) = (fold.time, fold.hour);
    let Some(agent) = fold.entity(key) else { return };
    let id = named.first().cloned();
    // told by two publishers, it began when the first one said
    let known = agent.run.as_ref().filter(|run| id.is_some() && run.shown.id == id);
    let started_at = known.map_or(time, |run| run.shown.started_at);
    let progress = known.and_then(|run| run.shown.progress);
    agent.run = Some(Run { shown: CurrentRun { id, started_at, progress }, hour });
    let agent = agent.id.to_string();
    for run in named {
        fold.state.runs.insert(run.clone(), agent.clone());
    }
    fold.pulse(key);
}

/// How far the run is; a run whose beginning nobody told has begun by now.
fn progress(fold: &mut Fold<'_>, key: Key, ids: &[&String], progress: Option<f64>) {
    let (time, hour) = (fold.time, fold.hour);
    let Some(agent) = fold.entity(key) else { return };
    let fresh = || CurrentRun { id: ids.first().map(|id| (*id).clone()), started_at: time, progress: None };
    let run = agent.run.get_or_insert_with(|| Run { shown: fresh(), hour });
    run.hour = hour;
    // a share, or of a hundred
    let share = |value: f64| if value > 1.0 { value / 100.0 } else { value };
    if let Some(progress) = progress.map(share).filter(|share| (0.0..=1.0).contains(share)) {
        run.shown.progress = Some(progress);
    }
    fold.pulse(key);
}

/// The run is over; of an event that names none, whichever there is.
fn end(fold: &mut Fold<'_>, key: Key, named: &[String]) {
    let Some(agent) = fold.entity(key) else { return };
    let is_this = |run: &mut Run| named.is_empty() || run.shown.id.as_ref().is_none_or(|id| named.contains(id));
    if agent.run.take_if(is_this).is_some() {
        fold.pulse(key);
    }
}
