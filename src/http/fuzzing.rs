//! Interface for the fuzz targets in `fuzz/`; built only with `--cfg fuzzing`.

use serde::Deserialize;

pub use super::head::pieces::{LIMITS, Outcome};
pub use super::paging::{decode_id, decode_position, encode_id, encode_position};

use super::dead_letters::bulk_replay;
use super::query::{FromParams, Params};
use super::{
    aggregate, dead_letters, entities, errors, frames, health, history, lessons, preamble, snapshot, time_travel,
};

/// Routes with a query: path and required parameters.
pub const QUERIES: [(&str, &[&str]); 14] = [
    ("/living-map/agents/{id}/preamble", &[]),
    ("/living-map/dead-letters", &[]),
    ("/living-map/dead-letters/replay", &[]),
    ("/living-map/diff", &["from"]),
    ("/living-map/entities", &[]),
    ("/living-map/errors", &[]),
    ("/living-map/errors/health", &[]),
    ("/living-map/frames", &["cursor"]),
    ("/living-map/history", &[]),
    ("/living-map/history/aggregate", &[]),
    ("/living-map/lessons", &[]),
    ("/living-map/ready", &[]),
    ("/living-map/snapshot", &[]),
    ("/living-map/snapshots", &[]),
];

/// A problem document, as received by a client.
#[derive(Debug, Deserialize)]
pub struct Rejection {
    /// HTTP status.
    pub status: u16,
    /// Description of the error.
    pub detail: String,
    /// Parameter that is invalid.
    pub parameter: Option<String>,
}

/// Parses the query string of a route.
///
/// # Errors
/// The query is invalid.
///
/// # Panics
/// `path` is not in [`QUERIES`].
pub fn parse_query(path: &str, query: &str) -> Result<(), Rejection> {
    fn parse<T: FromParams>(params: &Params) -> Result<(), super::Problem> {
        T::from_params(params).map(drop)
    }
    let parse = match path {
        "/living-map/agents/{id}/preamble" => parse::<preamble::PreambleQuery>,
        "/living-map/dead-letters" => parse::<dead_letters::DeadLettersQuery>,
        "/living-map/dead-letters/replay" => parse::<bulk_replay::ReplayQuery>,
        "/living-map/diff" => parse::<time_travel::DiffQuery>,
        "/living-map/entities" => parse::<entities::EntitiesQuery>,
        "/living-map/errors" => parse::<errors::ErrorsQuery>,
        "/living-map/errors/health" => parse::<errors::ErrorHealthQuery>,
        "/living-map/frames" => parse::<frames::FramesQuery>,
        "/living-map/history" => parse::<history::EventsQuery>,
        "/living-map/history/aggregate" => parse::<aggregate::CountQuery>,
        "/living-map/lessons" => parse::<lessons::LessonsQuery>,
        "/living-map/ready" => parse::<health::ReadyQuery>,
        "/living-map/snapshot" => parse::<snapshot::SnapshotQuery>,
        "/living-map/snapshots" => parse::<time_travel::SavedQuery>,
        other => panic!("no route with a query: {other}"),
    };
    Params::parse(query).and_then(|params| parse(&params)).map_err(|problem| {
        let document = serde_json::to_value(problem.document()).expect("a problem document is JSON");
        serde_json::from_value(document).expect("a problem document has these fields")
    })
}
