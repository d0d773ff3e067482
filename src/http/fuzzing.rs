//! What the fuzz targets in `fuzz/` see of this room; built for them alone (`--cfg fuzzing`).

use serde::Deserialize;

pub use super::paging::{read_id, read_position, write_id, write_position};

use super::query::{FromParams, Params};
use super::{aggregate, dead_letters, entities, errors, history, lessons, past, preamble, snapshot};

/// The routes with a query: path, and the parameters that must be given.
pub const QUERIES: [(&str, &[&str]); 12] = [
    ("/living-map/agents/{id}/preamble", &[]),
    ("/living-map/dead-letters", &[]),
    ("/living-map/dead-letters/replay", &[]),
    ("/living-map/diff", &["from"]),
    ("/living-map/entities", &[]),
    ("/living-map/errors", &[]),
    ("/living-map/errors/health", &[]),
    ("/living-map/history", &[]),
    ("/living-map/history/aggregate", &[]),
    ("/living-map/lessons", &[]),
    ("/living-map/snapshot", &[]),
    ("/living-map/snapshots", &[]),
];

/// A problem document, as its client reads it.
#[derive(Debug, Deserialize)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What was wrong and what was expected.
    pub detail: String,
    /// The parameter that was wrong.
    pub parameter: Option<String>,
}

/// Reads the query string of a route.
///
/// # Errors
/// How it is refused.
///
/// # Panics
/// `path` is none of [`QUERIES`].
pub fn read_query(path: &str, query: &str) -> Result<(), Refusal> {
    fn read<T: FromParams>(params: &Params) -> Result<(), super::Problem> {
        T::from_params(params).map(drop)
    }
    let read = match path {
        "/living-map/agents/{id}/preamble" => read::<preamble::PreambleQuery>,
        "/living-map/dead-letters" => read::<dead_letters::LettersQuery>,
        "/living-map/dead-letters/replay" => read::<dead_letters::ReplayQuery>,
        "/living-map/diff" => read::<past::DiffQuery>,
        "/living-map/entities" => read::<entities::EntitiesQuery>,
        "/living-map/errors" => read::<errors::ErrorsQuery>,
        "/living-map/errors/health" => read::<errors::ErrorHealthQuery>,
        "/living-map/history" => read::<history::EventsQuery>,
        "/living-map/history/aggregate" => read::<aggregate::CountQuery>,
        "/living-map/lessons" => read::<lessons::LessonsQuery>,
        "/living-map/snapshot" => read::<snapshot::SnapshotQuery>,
        "/living-map/snapshots" => read::<past::SavedQuery>,
        other => panic!("no route with a query: {other}"),
    };
    Params::parse(query).and_then(|params| read(&params)).map_err(|problem| {
        let document = serde_json::to_value(problem.document()).expect("it is JSON");
        serde_json::from_value(document).expect("it is a problem document")
    })
}
