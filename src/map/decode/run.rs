//! `agent.run.*` and `agents.runs.*`: the runs of agents.
//!
//! An agent shows one run, the one that started last. The end of another run is activity only.

use serde_json::Value;

use crate::model::EntityType;

use super::agent::activity;
use super::assertion::{Assertion, EntitySelector, Operation};
use super::reader::EventReader;

/// Payload fields that may hold an id of the run.
const RUN_IDS: [&str; 3] = ["run_id", "agent_run_id", "task_id"];

/// One event of a run. `last` is the rest of the subject after the kind: the agent, or for progress the task.
pub(super) fn event<'a>(reader: EventReader<'a>, kind: &str, last: Option<&str>) -> Option<Assertion<'a>> {
    let mut ids: Vec<String> = RUN_IDS.iter().filter_map(|name| reader.id(name)).collect();
    match kind {
        "requested" => activity(reader, None),
        "created" | "started" => Some(activity(reader, None)?.with([Operation::StartRun { ids }])),
        "progress" => {
            ids.extend(last.map(str::to_owned));
            let progress = Operation::ProgressRun { ids: ids.clone(), progress: reader.number("progress") };
            Some(of_agent_or_run(reader, ids)?.with([progress]))
        }
        "completed" | "failed" | "finished" => {
            let success = reader.get("success").and_then(Value::as_bool);
            let success =
                if kind == "finished" { success } else { Some(kind == "completed" && success != Some(false)) };
            let outcome = success.map(|success| Operation::Outcome { success });
            let assertion = of_agent_or_run(reader, ids.clone())?;
            Some(assertion.with([Operation::EndRun { ids }].into_iter().chain(outcome)))
        }
        _ => None,
    }
}

/// Activity of the agent that the event names, else of the agent of one of the runs.
fn of_agent_or_run(reader: EventReader<'_>, runs: Vec<String>) -> Option<Assertion<'_>> {
    if reader.event.entity_type == Some(EntityType::Agent) {
        return activity(reader, None);
    }
    Some(Assertion { entity: EntitySelector::AgentOfRun(runs), operations: vec![Operation::Activity] })
}
