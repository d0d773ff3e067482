//! Content modes of a publishing request: network envelopes, and `CloudEvents` 1.0 over HTTP (structured, batched, binary).

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode;
use serde_json::{Map, Value};

use super::publish::Form;
use crate::http::body::{self, Received};
use crate::http::error::Problem;
use crate::http::state::AppState;
use crate::model::json::{self, Elements, Normal, SplitError, Unreadable};
use crate::model::{Notes, envelope};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
/// Beginning of the media types of the structured modes, of which those above are supported.
const CLOUD_EVENTS: &str = "application/cloudevents";

/// Attributes that every `CloudEvent` has: one of them in a header is the binary mode.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// Events of a request.
#[derive(Debug)]
pub struct Events {
    /// What was read of each.
    pub parsed: Vec<Result<Normal, Unreadable>>,
    /// Form of each.
    pub form: Form,
}

/// Reads the events of a request in the content mode that its headers declare.
///
/// # Errors
/// 400: not the JSON of this content mode, or a header with an invalid attribute. 415: another media type. See
/// [`body::read_bytes`] for others.
pub async fn read(state: &AppState, request: Request) -> Result<Received<Events>, Problem> {
    let media_type = media_type(request.headers());
    let is_binary = !media_type.starts_with(CLOUD_EVENTS) && has_attributes(request.headers());
    if is_binary {
        let attributes = attributes(request.headers())?;
        let Received { content, memory } = body::read_bytes(state, request).await?;
        let event = binary_event(attributes, &content)?;
        return Ok(Received { content: Events { parsed: vec![Ok(event)], form: Form::CloudEvents }, memory });
    }
    let is_batch = media_type == BATCH;
    if media_type.starts_with(CLOUD_EVENTS) && !is_batch && media_type != STRUCTURED {
        let detail = format!("expected '{STRUCTURED}' or '{BATCH}'");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).parameter("Content-Type"));
    }
    let Received { content, memory } = body::read_text(state, request).await?;
    let elements = Elements::of(&content, state.config.max_batch).map_err(|error| match error {
        SplitError::Unreadable(error) => body::not_json(error),
        SplitError::TooMany(max) => Problem::too_large(format_args!("{max} events")),
    })?;
    if elements.is_list() && media_type == STRUCTURED {
        return Err(invalid_body(format!("expected one CloudEvent; a list is of the type '{BATCH}'")));
    }
    let parsed: Vec<_> = elements.parsed().collect();
    match parsed[..] {
        [Err(error)] if !elements.is_list() => return Err(body::not_json(error)),
        _ if is_batch && !elements.is_list() => return Err(invalid_body("expected a list of CloudEvents".to_owned())),
        _ => {}
    }
    let form = if is_batch || media_type == STRUCTURED { Form::CloudEvents } else { Form::Any };
    Ok(Received { content: Events { parsed, form }, memory })
}

fn invalid_body(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail).field("body")
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn has_attributes(headers: &HeaderMap) -> bool {
    let mut attributes = headers.keys().filter_map(|name| envelope::attribute_of_header(name.as_str()));
    attributes.any(|attribute| REQUIRED.contains(&attribute))
}

/// Attributes in the headers of a request in the binary mode.
///
/// # Errors
/// 400: a header is repeated, or is not UTF-8.
fn attributes(headers: &HeaderMap) -> Result<Map<String, Value>, Problem> {
    let mut values = Vec::new();
    for name in headers.keys().filter(|name| envelope::attribute_of_header(name.as_str()).is_some()) {
        let invalid = |expected| Problem::bad_request(name.as_str().to_owned(), expected);
        let mut all = headers.get_all(name).iter();
        let (Some(value), None) = (all.next(), all.next()) else { return Err(invalid("expected once")) };
        let text = decoded(value.as_bytes()).ok_or_else(|| invalid("expected UTF-8, percent-encoded"))?;
        values.push((name.as_str(), text));
    }
    let content_type = match headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) {
        Some(Err(_)) => return Err(Problem::bad_request("Content-Type", "expected a media type")),
        Some(Ok(value)) => Some(value),
        None => None,
    };
    Ok(envelope::attributes(values, content_type))
}

/// Text of a header's value, which may be quoted and is percent-encoded.
fn decoded(value: &[u8]) -> Option<String> {
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let unescaped = quoted.map(|quoted| {
        let mut bytes = quoted.iter();
        let next = || bytes.next().and_then(|byte| if *byte == b'\\' { bytes.next() } else { Some(byte) });
        std::iter::from_fn(next).copied().collect::<Vec<u8>>()
    });
    let value = unescaped.as_deref().unwrap_or(value);
    percent_decode(value).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// The event with these attributes and this body.
///
/// # Errors
/// 400: a body of a JSON type that is not JSON.
fn binary_event(mut attributes: Map<String, Value>, bytes: &[u8]) -> Result<Normal, Problem> {
    let mut notes = Notes::NONE;
    let is_json = attributes.get("datacontenttype").and_then(Value::as_str).is_some_and(envelope::is_json);
    if is_json && !bytes.is_empty() {
        let data = json::parse_payload(bytes).map_err(body::not_json)?;
        attributes.insert("data".to_owned(), data.value);
        notes = data.notes;
    } else {
        envelope::add_data(&mut attributes, bytes);
    }
    Ok(Normal { value: Value::Object(attributes), notes })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn headers(headers: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static [u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        };
        headers.iter().map(header).collect()
    }

    #[test]
    fn header_values_are_unquoted_and_percent_decoded() {
        for (value, text) in [
            (&b"gateway"[..], Some("gateway")),
            (b"/gateway?a=%D0%B0%20b%25", Some("/gateway?a=а b%")),
            (br#""quoted \"text\" \\""#, Some(r#"quoted "text" \"#)),
            ("ї".as_bytes(), Some("ї")),
            (b"100%", Some("100%")),
            (b"%ff", None),
            (b"\"", Some("\"")),
        ] {
            assert_eq!(decoded(value).as_deref(), text, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn attributes_come_from_headers() {
        let all = headers(&[
            ("ce-id", b"1"),
            ("ce-sequence", b"0007"),
            ("ce-datacontenttype", b"ignored/type"),
            ("content-type", b"text/plain"),
            ("x-other", b"x"),
        ]);
        let expected = json!({"id": "1", "sequence": "0007", "datacontenttype": "text/plain"});
        assert_eq!(Value::Object(attributes(&all).unwrap()), expected);
        let mut twice = headers(&[("ce-id", b"1")]);
        twice.append("ce-id", HeaderValue::from_static("2"));
        for invalid in [twice, headers(&[("ce-id", b"%ff")])] {
            assert!(format!("{:?}", attributes(&invalid).unwrap_err()).contains("ce-id: "));
        }
    }

    #[test]
    fn one_required_attribute_in_a_header_is_the_binary_mode() {
        assert!(has_attributes(&headers(&[("ce-type", b"a.b")])));
        assert!(!has_attributes(&headers(&[("ce-extension", b"1"), ("content-type", b"application/json")])));
    }
}
