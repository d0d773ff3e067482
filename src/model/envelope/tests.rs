use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::cursor::Epoch;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn message<'a>(subject: &'a str, headers: &'a [(&'a str, &'a str)], body: &'a [u8]) -> Message<'a> {
    let cursor = Cursor { epoch: Epoch(1), seq: 9 };
    Message { subject, headers, body, cursor, logged_at: at("2026-11-21T00:00:00Z") }
}

fn event(subject: &str, body: &Value) -> Event {
    read(&message(subject, &[], body.to_string().as_bytes())).event
}

#[test]
fn all_forms_give_the_same_event() {
    let payload = json!({"agent_id": "agent:sofia", "status": "online"});
    let flat = json!({"agent_id": "agent:sofia", "status": "online", "ts": "2026-01-19T12:00:00", "event_id": "e1",
        "source": "gateway", "trace_id": "t1"});
    let network = json!({"event_id": "e1", "event_type": "agent.event.status", "timestamp": "2026-01-19T12:00:00Z",
        "trace_id": "t1", "source": "gateway", "agent_id": "agent:sofia", "payload": payload});
    let catalogue = json!({"event_id": "e1", "ts": "2026-01-19T12:00:00Z", "domain": "agent", "type": "status",
        "version": 1, "source": "gateway", "actor": {"id": "u1", "kind": "human"}, "payload": payload,
        "meta": {"team_id": "x", "trace_id": "t1", "span_id": "s"}});
    let cloud = json!({"specversion": "1.0", "id": "e1", "source": "gateway", "type": "status",
        "time": "2026-01-19T12:00:00Z", "data": payload});
    let binary = read(&message(
        "agent.event.status",
        &[
            ("ce-specversion", "1.0"),
            ("CE-ID", "e1"),
            ("ce-source", "gateway"),
            ("ce-type", "status"),
            ("ce-time", "2026-01-19T12:00:00Z"),
        ],
        payload.to_string().as_bytes(),
    ));
    let events = [&flat, &network, &catalogue, &cloud].map(|body| event("agent.event.status", body));
    for event in events.iter().chain([&binary.event]) {
        assert_eq!(event.id, events[0].id);
        assert_eq!(event.timestamp, at("2026-01-19T12:00:00Z"));
        assert_eq!(event.source_service.as_deref(), Some("gateway"));
        assert_eq!(event.entity_id.as_deref(), Some("agent:sofia"));
        assert_eq!(event.payload["status"], "online");
    }
}

/// In this order: idempotency key, event id, message id, position.
#[test]
fn the_id_is_derived_from_the_first_available_name() {
    let id =
        |headers: &[(&str, &str)], body: Value| read(&message("a.b", headers, body.to_string().as_bytes())).event.id;
    let uuid = "0190b8f0-0000-7000-8000-000000000001";
    let header = [("Nats-Msg-Id", "m1")];
    assert_eq!(id(&[], json!({"event_id": uuid})).to_string(), uuid);
    assert_eq!(
        id(&header, json!({"idempotency_key": "k", "event_id": "1"})),
        id(&[], json!({"idempotency_key": "k", "event_id": "2"})),
    );
    assert_ne!(id(&header, json!({"event_id": "1"})), id(&header, json!({"event_id": "2"})));
    assert_eq!(id(&header, json!({"x": 1})), id(&header, json!({"x": 2})));
    assert_ne!(id(&[], json!({})), id(&header, json!({})));
    let at = |epoch, seq, logged_at: &str| {
        let cursor = Cursor { epoch: Epoch(epoch), seq };
        read(&Message { cursor, logged_at: at(logged_at), ..message("a.b", &[], b"{}") }).event.id
    };
    let (one, two) = ("2026-11-21T00:00:00.000001Z", "2026-11-21T00:00:00.000002Z");
    assert_eq!(at(1, 9, one), at(2, 9, one));
    assert_ne!(at(1, 9, one), at(1, 8, one));
    assert_ne!(at(1, 9, one), at(1, 9, two));
}

#[test]
fn malformed_bodies_are_events() {
    for body in [&b""[..], b"plain text", b"\xff\xfe", b"[1,2]", b"7", b"null", &[b'['; 1000]] {
        let entry = read(&message("city.event.odd", &[], body));
        assert_eq!(entry.event.timestamp, entry.logged_at);
        assert_eq!(entry.event.entity_id, None);
    }
    assert_eq!(read(&message("a", &[], b"plain text")).raw.as_deref(), Some(&b"plain text"[..]));
    assert_eq!(read(&message("a", &[], b"{}")).raw, None);
}

#[test]
fn a_message_has_its_time_in_created_at() {
    let message = json!({"message_id": "m", "channel_id": "c", "created_at": "2026-01-19T12:00:00"});
    assert_eq!(event("messaging.message.created", &message).timestamp, at("2026-01-19T12:00:00Z"));
}

#[test]
fn publishing_names_the_invalid_field() {
    for (body, field) in [
        (json!([]), "event"),
        (json!({}), "event_type"),
        (json!({"event_type": 1}), "event_type"),
        (json!({"event_type": "$SYS.x"}), "event_type"),
        (json!({"event_type": "a.*"}), "event_type"),
        (json!({"event_type": "a", "event_id": 1}), "event_id"),
        (json!({"event_type": "a", "idempotency_key": ""}), "idempotency_key"),
        (json!({"event_type": "a", "source": "x".repeat(513)}), "source"),
        (json!({"event_type": "a", "timestamp": "soon"}), "timestamp"),
    ] {
        assert_eq!(publish(body.clone(), Utc::now()).unwrap_err().field, field, "{body}");
    }
}

proptest! {
    #[test]
    fn a_written_event_is_read_back(
        key in proptest::option::of("[a-z0-9:]{1,20}"),
        id in proptest::option::of("[a-z0-9-]{1,40}"),
        agent in proptest::option::of("[a-z]{1,8}"),
        number in any::<f64>(),
        text in ".{0,20}",
    ) {
        let mut body = json!({"event_type": "usage.llm", "payload": {"n": number, "t": text}, "extra": {"a": 1}});
        if let Some(key) = key { body["idempotency_key"] = key.into(); }
        if let Some(id) = id { body["event_id"] = id.into(); }
        if let Some(agent) = agent { body["agent_id"] = agent.into(); }
        let new = publish(body, at("2026-11-20T00:00:00.123456Z")).unwrap();
        let bytes = write(&new.event).to_string();
        let entry = read(&message("usage.llm", &[("Nats-Msg-Id", "other")], bytes.as_bytes()));
        prop_assert_eq!(entry.event, new.event);
        prop_assert_eq!(entry.raw, None);
    }
}

/// A dead letter is kept as written, and a published event may contain the fields of another form.
#[test]
fn an_envelope_that_looks_like_another_form_round_trips() {
    let payload = json!({"status": "online"});
    let cloud = json!({"specversion": "1.0", "id": "e1", "source": "gateway", "type": "status",
        "time": "2026-01-19T12:00:00Z", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": payload});
    let catalogue = json!({"event_id": "e1", "ts": "2026-01-19T12:00:00Z", "domain": "agent", "type": "status",
        "actor": {"id": "agent:sofia", "kind": "agent"}, "payload": payload, "meta": {"trace_id": "t1"}});
    for body in [cloud, catalogue] {
        let event = event("agent.event.status", &body);
        assert_eq!(self::event("agent.event.status", &write(&event)), event, "{body}");
    }
    let published = json!({"event_type": "agent.event.status", "event_id": "e1", "source": "gateway",
        "specversion": "1.0", "type": "status", "domain": "agent", "id": "other", "data": 1, "payload": payload});
    let new = publish(published, at("2026-11-20T00:00:00Z")).unwrap();
    assert_eq!(event("agent.event.status", &write(&new.event)), new.event);
}

#[test]
fn a_name_too_long_for_an_index_stays_in_the_payload() {
    let long = "x".repeat(200_000);
    let flat = event("agent.event.status", &json!({"agent_id": long, "source": long, "trace_id": long}));
    assert_eq!((flat.entity_id, flat.trace_id), (None, None));
    assert_eq!(flat.source_service.as_deref(), Some("agents"));
    assert_eq!(flat.payload["agent_id"], long);

    let network = json!({"event_type": "a.b", "source": long, "trace_id": long, "agent_id": long, "payload":
        {"entity_id": long, "channel_id": long, "message_id": long}});
    let network = event("a.b", &network);
    assert_eq!((network.entity_id, network.source_service, network.trace_id), (None, None, None));
    assert_eq!(network.envelope.unwrap()["source"], long);

    let subject = "node.metrics.".to_owned() + &"ї".repeat(2_000);
    let of_subject = read(&message(&subject, &[], b"{}")).event;
    assert!(of_subject.event_type.len() <= 1_024 && subject.starts_with(&of_subject.event_type));
    assert_eq!(of_subject.notes.to_string(), "subject: 4013 bytes", "a long subject was cut without a note");
    let again = read(&message(&of_subject.event_type, &[], write(&of_subject).to_string().as_bytes())).event;
    assert_eq!(again, of_subject);
    assert!(of_subject.entity_id.is_none_or(|id| id.len() <= 1_024));
}

#[test]
fn a_key_of_any_length_identifies_an_event() {
    let id = |key: &str| event("a.b", &json!({"idempotency_key": "k".repeat(1_000) + key, "payload": 1})).id;
    assert_eq!(id("1"), id("1"));
    assert_ne!(id("1"), id("2"));
}

/// The header applies to messages without a trace of their own.
#[test]
fn a_traceparent_header_sets_a_missing_trace() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let read_with = |headers: &[(&str, &str)], body: &Value| {
        let body = body.to_string();
        read(&message("agent.event.status", headers, body.as_bytes())).event
    };
    let flat = json!({"agent_id": "sofia"});
    let by_header = read_with(&[("Traceparent", PARENT)], &flat);
    assert_eq!(by_header.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(by_header.traceparent(), PARENT.parse().ok());
    let network = json!({"event_type": "agent.event.status", "traceparent": PARENT, "payload": {}});
    assert_eq!(read_with(&[], &network).traceparent(), PARENT.parse().ok());
    assert_eq!(read_with(&[], &network).trace_id, by_header.trace_id);
    let own = read_with(&[("traceparent", PARENT)], &json!({"agent_id": "sofia", "trace_id": "mine"}));
    assert_eq!((own.trace_id.as_deref(), own.traceparent()), (Some("mine"), None));
    let garbled = read_with(&[("traceparent", "00-x-y-z")], &flat);
    assert_eq!((garbled.trace_id, garbled.envelope), (None, None));
}

#[test]
fn a_truncated_subject_with_nul_is_read_again_as_the_same() {
    let subject = format!("a{}", "\0".repeat(2_000));
    let kept = event(&subject, &json!({})).event_type;
    assert!(kept.len() <= MAX_KEPT_SUBJECT_BYTES && kept.starts_with("a\u{fffd}"), "{kept}");
    assert_eq!(event(&kept, &json!({})).event_type, kept);
}

/// The table of repairs in `docs/api.md`.
#[test]
fn documented_repairs_are_as_documented() {
    let table = include_str!("../../../docs/api.md").lines().skip_while(|line| *line != "### What is repaired");
    let rows: Vec<Vec<&str>> = table
        .filter_map(|line| Some(line.strip_prefix("| `")?.strip_suffix('|')?.split(" | ").collect()))
        .take_while(|row: &Vec<&str>| row.len() == 3)
        .collect();
    let code = |text: &str| text.trim().trim_matches('`').to_owned();
    let mut kinds = Vec::new();
    for row in &rows {
        let (kind, sent, mut kept) = (code(row[0]).parse::<NoteKind>().unwrap(), code(row[1]), code(row[2]));
        let mut bytes = Vec::new();
        let mut parts = sent.split("\\x");
        bytes.extend(parts.next().unwrap().bytes());
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
            bytes.extend(part[2..].bytes());
        }
        if kind == NoteKind::TooDeep {
            bytes = "[".repeat(json::MAX_DEPTH + 1).into_bytes();
            bytes.extend("]".repeat(json::MAX_DEPTH + 1).bytes());
        }
        let mut subject = "a.b".to_owned();
        if kind == NoteKind::Subject {
            (subject, bytes, kept) = ("a".repeat(1_025), b"7".to_vec(), "7".to_owned());
        }
        let entry = read(&message(&subject, &[], &bytes));
        assert_eq!(entry.event.payload, json::parse(kept.as_bytes()).unwrap().value, "{row:?}");
        assert_eq!(
            entry.event.notes.iter().map(|note| note.kind).collect::<Vec<_>>(),
            vec![kind; entry.event.notes.iter().count()]
        );
        assert!(!entry.event.notes.is_empty(), "{row:?}");
        kinds.push(kind);
    }
    kinds.dedup();
    assert_eq!(kinds, NoteKind::ALL);
}

/// Notes travel in the envelope, so that every reader of any log has them.
#[test]
fn notes_of_a_published_event_are_read_back() {
    let sent = json::parse(br#"{"event_type":"a.b","event_id":"1","payload":{"cpu":NaN}}"#).unwrap();
    let new = publish(sent, at("2026-11-20T00:00:00Z")).unwrap();
    assert_eq!(new.event.notes.to_string(), "not_finite at /payload/cpu: NaN");
    let entry = read(&message("a.b", &[], write(&new.event).to_string().as_bytes()));
    assert_eq!((entry.event, entry.raw), (new.event, None));
    let forged = json!({"event_type": "a.b", "event_id": "1", "payload": 1, "living_map_notes": [{"kind": "unknown"}]});
    let read = event("a.b", &forged);
    assert!(read.notes.is_empty() && read.envelope.is_some(), "anything else in the field stays in the envelope");
    assert_eq!(publish(forged, Utc::now()).unwrap_err().field, "living_map_notes");
}

/// The time of the log was taken without a word.
#[test]
fn a_time_that_cannot_be_read_is_noted() {
    let noted = |body: &Value| {
        let entry = read(&message("a.b", &[], body.to_string().as_bytes()));
        assert_eq!((entry.event.timestamp, entry.raw.is_some()), (entry.logged_at, true), "{body}");
        entry.event.notes.to_string()
    };
    assert_eq!(noted(&json!({"ts": "soon", "x": 1})), "timestamp at /ts: soon");
    assert_eq!(noted(&json!({"event_type": "a.b", "timestamp": [1], "payload": 1})), "timestamp at /timestamp: [1]");
    assert_eq!(noted(&json!({"event_id": "1", "payload": {"ts": true}})), "timestamp at /payload/ts: true");
    assert_eq!(
        noted(&json!({"specversion": "1.0", "type": "t", "source": "s", "time": "x", "data": 1})),
        "timestamp at /time: x"
    );
    let readable = event("a.b", &json!({"ts": "2026-01-19T14:00:00,5+0200", "timestamp": "soon"}));
    assert_eq!((readable.timestamp, readable.notes.is_empty()), (at("2026-01-19T12:00:00.5Z"), true));
}

/// `{"payload": {…}}` with a payload of the maximum depth is one level deeper, and so is its dead letter.
#[test]
fn depth_is_limited_in_the_payload() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    for (levels, readable) in [(127, true), (128, true), (129, false), (200, false)] {
        for body in [nested(levels), format!(r#"{{"event_id":"1","payload":{}}}"#, nested(levels))] {
            let entry = read(&message("a.b", &[], body.as_bytes()));
            assert_eq!((entry.event.notes.is_empty(), entry.raw.is_none()), (readable, readable), "{levels}");
            let again = read(&message("a.b", &[], write(&entry.event).to_string().as_bytes()));
            assert_eq!(again.event, entry.event);
        }
    }
}
