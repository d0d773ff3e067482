//! Alerts that are not to disturb anybody for a time.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use chrono::{TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AllOfBuilder, AnyOfBuilder, Type};
use utoipa::openapi::{ObjectBuilder, Schema};
use uuid::Uuid;

use super::alerts::{MAX_BY_BYTES, MAX_NOTE_BYTES, read, tell};
use super::error::{Document, Problem};
use super::query::{EntityId, shown};
use super::state::AppState;
use crate::map::MAX_SILENCES;
use crate::model::{Silence, alert, time};

/// The silences.
#[derive(Debug, Serialize, ToSchema)]
pub struct SilenceList {
    /// At most 256, the oldest first.
    items: Vec<Silence>,
}

/// Which alerts to silence, and for how long: at least one of `rule`, `alert` and `entity_id`.
#[derive(Debug, ToSchema)]
#[schema(as = NewSilence, example = json!({"rule": "agent-errors", "entity_id": "agent:sofia", "minutes": 60, "note": "being moved"}))]
#[expect(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct SilenceBody {
    /// Alerts of this rule.
    #[schema(min_length = 1, max_length = 128)]
    rule: Option<String>,
    /// The alert of this id.
    #[schema(min_length = 1, max_length = 128)]
    alert: Option<String>,
    /// Alerts about this entity, by the name that the alert has.
    #[schema(min_length = 1, max_length = 128)]
    entity_id: Option<String>,
    /// For how long.
    #[schema(minimum = 1, maximum = 43200)]
    minutes: u32,
    /// Why, at most 400 bytes.
    #[schema(min_length = 1, max_length = 400)]
    note: Option<String>,
    /// Who; with a token it is whoever has the token. At most 128 bytes.
    #[schema(min_length = 1, max_length = 128)]
    by: Option<String>,
}

/// The fields of a [`SilenceBody`] of which one at least is given.
const WHAT: [&str; 3] = ["rule", "alert", "entity_id"];

/// The shape of a [`SilenceBody`] with what its fields alone do not say.
pub fn schema(fields: Schema) -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let given = |name| ObjectBuilder::new().property(name, text()).required(name);
    let what = WHAT.iter().fold(AnyOfBuilder::new(), |what, name| what.item(given(*name)));
    Schema::AllOf(AllOfBuilder::new().item(fields).item(what).build())
}

/// The silences, those that are over not among them
#[utoipa::path(
    get, path = "/living-map/alerts/silences", tag = "alerts", operation_id = "silences",
    responses(
        (status = 200, body = SilenceList),
        (status = 503, body = Document, content_type = "application/problem+json", description = "The map is not complete yet"),
    )
)]
pub async fn silences(State(state): State<AppState>) -> Result<Json<SilenceList>, Problem> {
    let now = Utc::now();
    let lasts = |silence: &&Silence| silence.until > now;
    let mut items: Vec<Silence> = state.map()?.with(|map| map.silences().filter(lasts).cloned().collect());
    items.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
    Ok(Json(SilenceList { items }))
}

/// Silence alerts
///
/// Until it ends they are marked (`silenced_until`), for whoever notifies of them; they are shown all the same.
#[utoipa::path(
    post, path = "/living-map/alerts/silences", tag = "alerts", operation_id = "silence_alerts",
    request_body(content = SilenceBody, content_type = "application/json"),
    responses(
        (status = 201, description = "It begins", body = Silence),
        (status = 409, description = "There are 256 already", body = Document, content_type = "application/problem+json"),
        (status = 422, body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The log is away, or the map is not complete yet",
            body = Document, content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn silence(State(state): State<AppState>, request: Request) -> Result<(StatusCode, Json<Silence>), Problem> {
    let longest = state.config.max_silence_minutes;
    let (fields, by) = read(&state, request).await?;
    let named = |name| fields.text(name, MAX_BY_BYTES);
    let (rule, alert, entity_id) = (named("rule")?, named("alert")?, named("entity_id")?);
    let minutes = fields.required_number("minutes", 1..=longest)?;
    let note = fields.text("note", MAX_NOTE_BYTES)?;
    if rule.is_none() && alert.is_none() && entity_id.is_none() {
        return Err(fields.wrong("rule", "expected at least one of 'rule', 'alert' and 'entity_id'"));
    }
    if state.map()?.with(|map| map.silences().count()) >= MAX_SILENCES {
        let detail = format!("there are {MAX_SILENCES} silences already: end one first");
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
    tell(&state, alert::SILENCED, payload, now).await?;
    Ok((StatusCode::CREATED, Json(silence)))
}

/// End a silence
#[utoipa::path(
    delete, path = "/living-map/alerts/silences/{id}", tag = "alerts", operation_id = "end_silence",
    params(("id" = String, Path, description = "As in the list")),
    responses(
        (status = 204, description = "It is over"),
        (status = 404, description = "There is no such silence", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The log is away, or the map is not complete yet",
            body = Document, content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn unsilence(
    State(state): State<AppState>,
    EntityId(id): EntityId,
    request: Request,
) -> Result<StatusCode, Problem> {
    if !state.map()?.with(|map| map.silences().any(|silence| silence.id == id)) {
        return Err(Problem::not_found(format!("there is no silence '{}'", shown(&id))).parameter("id"));
    }
    let by = super::limits::Visitor::of(request.extensions()).identity().map(|identity| identity.name.to_string());
    tell(&state, alert::UNSILENCED, json!({"silence_id": id, "by": by}), Utc::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
