//! Schema of the request body of `POST /living-map/events`, which `model::envelope` reads.

use chrono::{DateTime, Utc};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, Type};
use utoipa::openapi::{ObjectBuilder, Schema, SchemaFormat};

/// An event to publish. Additional fields are stored as they are.
#[derive(Debug, ToSchema)]
#[schema(as = Envelope, example = json!({
    "event_type": "agent.event.status",
    "idempotency_key": "gateway:agent:sofia:status:2026011912",
    "timestamp": "2026-01-19T12:00:00Z",
    "source": "gateway",
    "payload": {"agent_id": "agent:sofia", "status": "online"},
}))]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct EnvelopeSchema {
    /// NATS subject, without wildcards; not below `living_map.`, which is reserved for the server.
    #[schema(
        format = "subject",
        max_length = 256,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f.*>]+([.][^\s\u0000-\u001f\u007f-\u009f.*>]+)*$"
    )]
    event_type: String,
    /// Idempotency key: events with the same key are stored once. Takes precedence over `event_id`.
    #[schema(min_length = 1, max_length = 512)]
    idempotency_key: Option<String>,
    /// Event id: events with the same id are stored once.
    #[schema(min_length = 1, max_length = 512)]
    event_id: Option<String>,
    #[schema(schema_with = timestamp, required = false)]
    timestamp: Option<DateTime<Utc>>,
    /// Service that sends the event.
    #[schema(min_length = 1, max_length = 512)]
    source: Option<String>,
    /// Trace id; that of the request's `traceparent` header if absent.
    #[schema(min_length = 1, max_length = 512)]
    trace_id: Option<String>,
    /// Id of the agent that the event is about, if the payload does not contain it.
    #[schema(min_length = 1, max_length = 512)]
    agent_id: Option<String>,
    /// Id of the user that the event is about.
    #[schema(min_length = 1, max_length = 512)]
    user_id: Option<String>,
    /// Payload, any JSON value.
    #[schema(required = false)]
    payload: Value,
}

/// Range of a numeric timestamp: Unix seconds from year 1, and nanoseconds (numbers of at least 1e17) to the year 2261.
const TIMESTAMP_RANGE: [f64; 2] = [-62_135_596_800.0, 9.2e18];

fn timestamp() -> Schema {
    let schema = |kind| ObjectBuilder::new().schema_type(kind);
    let forms = AnyOfBuilder::new()
        .item(schema(Type::String).format(Some(SchemaFormat::Custom("iso8601".to_owned()))))
        .item(schema(Type::Number).minimum(Some(TIMESTAMP_RANGE[0])).maximum(Some(TIMESTAMP_RANGE[1])))
        .item(schema(Type::Null))
        .description(Some(
            "RFC 3339, or Unix seconds, milliseconds, microseconds or nanoseconds; the server's time if absent.",
        ));
    Schema::AnyOf(forms.build())
}

/// One event or a list of events.
#[derive(Debug, ToSchema)]
#[schema(as = Envelopes)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub enum EnvelopesSchema {
    /// A single event.
    One(EnvelopeSchema),
    /// A list of events.
    Many(EnvelopeListSchema),
}

/// Up to 1,000 events, appended to the log in this order.
#[derive(Debug, ToSchema)]
#[schema(as = EnvelopeList, min_items = 1)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct EnvelopeListSchema(Vec<EnvelopeSchema>);

/// A `CloudEvent` 1.0. Extension attributes are stored as they are.
#[derive(Debug, ToSchema)]
#[schema(as = CloudEvent, example = json!({
    "specversion": "1.0",
    "id": "agent:sofia:status:2026011912",
    "source": "gateway",
    "type": "agent.event.status",
    "time": "2026-01-19T12:00:00Z",
    "data": {"agent_id": "agent:sofia", "status": "online"},
}))]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct CloudEventSchema {
    /// Version of the specification.
    #[schema(pattern = r"^1\.0$")]
    specversion: String,
    /// Id of the event: events with the same id and source are stored once.
    #[schema(min_length = 1, max_length = 512)]
    id: String,
    /// Source that sends the event.
    #[schema(min_length = 1, max_length = 512)]
    source: String,
    /// Event type, a NATS subject like `event_type` of an envelope.
    #[schema(
        format = "subject",
        max_length = 256,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f.*>]+([.][^\s\u0000-\u001f\u007f-\u009f.*>]+)*$"
    )]
    #[schema(rename = "type")]
    kind: String,
    #[schema(schema_with = timestamp, required = false)]
    time: Option<DateTime<Utc>>,
    /// Media type of the data, JSON if absent. Data of another type than JSON or a text is in `data_base64`.
    #[schema(min_length = 1, max_length = 512)]
    datacontenttype: Option<String>,
    /// Payload, any JSON value. Data of another type is in `data_base64` instead, as base64.
    #[schema(required = false)]
    data: Value,
}

/// Up to 1,000 CloudEvents, appended to the log in this order.
#[derive(Debug, ToSchema)]
#[schema(as = CloudEventList, min_items = 1)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct CloudEventListSchema(Vec<CloudEventSchema>);
