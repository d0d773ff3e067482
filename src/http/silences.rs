//! Silences: alerts that match one are marked, so that notifiers skip them for a while.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AllOfBuilder, AnyOfBuilder, Type};
use utoipa::openapi::{ObjectBuilder, Schema};
use uuid::Uuid;

use super::decisions::{self, MAX_NAME_BYTES, MAX_NOTE_BYTES, decided_by};
use super::error::Problem;
use super::fields::Fields;
use super::query::{PathId, shown};
use super::requester::Requester;
use super::responses::{LogErrors, LogItemErrors, MapErrors};
use super::state::AppState;
use crate::map::MAX_SILENCES;
use crate::model::{Silence, alert, time};

/// Silences in effect.
#[derive(Debug, Serialize, ToSchema)]
pub struct SilenceList {
    /// At most 256 silences, oldest first.
    items: Vec<Silence>,
}

/// A new silence. At least one of `rule`, `alert`, and `entity_id` is required; an alert must match all that are given.
#[derive(Debug, ToSchema)]
#[schema(as = NewSilence, example = json!({"rule": "agent-errors", "entity_id": "agent:sofia", "minutes": 60, "note": "being moved"}))]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct SilenceBody {
    /// Name of an alert rule.
    #[schema(min_length = 1, max_length = 128)]
    rule: Option<String>,
    /// Id of an alert.
    #[schema(min_length = 1, max_length = 128)]
    alert: Option<String>,
    /// Id of an entity, exactly as in the alert's `entity_id`.
    #[schema(min_length = 1, max_length = 128)]
    entity_id: Option<String>,
    /// Duration in minutes.
    #[schema(minimum = 1, maximum = 43200)]
    minutes: u32,
    /// Reason, at most 400 bytes.
    #[schema(min_length = 1, max_length = 400)]
    note: Option<String>,
    /// Name of the person who creates the silence, at most 128 bytes. Ignored if the request has a token: then the
    /// token's name is used.
    #[schema(min_length = 1, max_length = 128)]
    by: Option<String>,
}

/// Fields of a [`SilenceBody`] that select alerts; at least one of them is required.
const SELECTORS: [&str; 3] = ["rule", "alert", "entity_id"];

/// Schema of a [`SilenceBody`]: its fields, and the condition that at least one selector is given.
pub fn schema(fields: Schema) -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let with = |name| ObjectBuilder::new().property(name, text()).required(name);
    let any = SELECTORS.iter().fold(AnyOfBuilder::new(), |any, name| any.item(with(*name)));
    Schema::AllOf(AllOfBuilder::new().item(fields).item(any).build())
}

/// List silences
///
/// Ended silences are left out.
#[utoipa::path(
    get, path = "/living-map/alerts/silences", tag = "alerts", operation_id = "silences",
    responses((status = 200, body = SilenceList), MapErrors)
)]
pub async fn silences(State(state): State<AppState>) -> Result<Json<SilenceList>, Problem> {
    let now = Utc::now();
    let in_effect = |silence: &&Silence| silence.until > now;
    let mut items: Vec<Silence> = state.map()?.with(|map| map.silences().filter(in_effect).cloned().collect());
    items.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
    Ok(Json(SilenceList { items }))
}

/// Silence alerts
///
/// Until the silence ends, matching alerts have `silenced_until`, which tells notifiers to skip them. They stay visible.
#[utoipa::path(
    post, path = "/living-map/alerts/silences", tag = "alerts", operation_id = "silence_alerts",
    request_body(content = SilenceBody, content_type = "application/json"),
    responses(
        (status = 201, description = "The new silence", body = Silence),
        (status = 409, description = "The maximum of 256 silences is reached"),
        LogErrors,
    )
)]
pub async fn create_silence(
    State(state): State<AppState>,
    requester: Requester,
    fields: Fields,
) -> Result<(StatusCode, Json<Silence>), Problem> {
    let by = decided_by(&requester, &fields)?;
    let selector = |name| fields.text(name, MAX_NAME_BYTES);
    let (rule, alert, entity_id) = (selector("rule")?, selector("alert")?, selector("entity_id")?);
    let minutes = fields.required_number("minutes", 1..=state.config.max_silence_minutes)?;
    let note = fields.text("note", MAX_NOTE_BYTES)?;
    if rule.is_none() && alert.is_none() && entity_id.is_none() {
        return Err(fields.invalid("rule", "expected at least one of 'rule', 'alert' and 'entity_id'"));
    }
    if state.map()?.with(|map| map.silences().count()) >= MAX_SILENCES {
        let detail = format!("the maximum of {MAX_SILENCES} silences is reached: end one first");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let now = time::whole_micros(Utc::now());
    let silence = Silence {
        id: Uuid::now_v7().to_string(),
        rule,
        alert,
        entity_id,
        until: now + TimeDelta::minutes(minutes.into()),
        by,
        note,
        created_at: now,
    };
    let payload = json!({
        "silence_id": silence.id, "rule": silence.rule, "alert": silence.alert, "entity_id": silence.entity_id,
        "until": time::text(silence.until), "by": silence.by, "note": silence.note,
    });
    decisions::append(&state, alert::SILENCED, payload, now).await?;
    Ok((StatusCode::CREATED, Json(silence)))
}

/// End a silence
#[utoipa::path(
    delete, path = "/living-map/alerts/silences/{id}", tag = "alerts", operation_id = "end_silence",
    params(("id" = String, Path, description = "Id of the silence")),
    responses((status = 204, description = "The silence has ended"), LogItemErrors)
)]
pub async fn end_silence(
    State(state): State<AppState>,
    PathId(id): PathId,
    requester: Requester,
) -> Result<StatusCode, Problem> {
    if !state.map()?.with(|map| map.silences().any(|silence| silence.id == id)) {
        return Err(Problem::not_found(format!("there is no silence '{}'", shown(&id))).parameter("id"));
    }
    let payload = json!({"silence_id": id, "by": requester.name()});
    decisions::append(&state, alert::UNSILENCED, payload, Utc::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
