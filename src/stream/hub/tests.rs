use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::model::{Change, EntityType, Event, Layer, Notes};
use crate::stream::StreamOptions;

const EPOCH: Epoch = Epoch(1);

fn at(seq: u64) -> Cursor {
    Cursor { epoch: EPOCH, seq }
}

fn entry(cursor: Cursor) -> LogEntry {
    let event = Event {
        id: Uuid::from_u128(cursor.seq.into()),
        event_type: "node.metrics.update".into(),
        timestamp: DateTime::UNIX_EPOCH,
        payload: json!({"n": cursor.seq}),
        source_service: None,
        entity_id: Some("node:a".into()),
        entity_type: Some(EntityType::Node),
        trace_id: None,
        idempotency_key: None,
        envelope: None,
        notes: Notes::NONE,
    };
    LogEntry { cursor, logged_at: DateTime::UNIX_EPOCH, event, raw: None }
}

fn publish(hub: &Hub, seq: u64) {
    hub.publish(&entry(at(seq)), &Outcome::default());
}

fn seqs(hub: &Hub, after: u64) -> Option<(Vec<u64>, u64)> {
    match hub.read(at(after), usize::MAX) {
        RingRead::Frames(batch) => Some((batch.frames.iter().map(|frame| frame.seq()).collect(), batch.upto.seq)),
        RingRead::Lagged { .. } => None,
    }
}

fn hub(max_frames: usize) -> Hub {
    Hub::new(HubConfig { max_frames, ..HubConfig::default() }, EPOCH)
}

#[test]
fn a_position_is_readable_until_it_is_evicted() {
    let hub = hub(3);
    for seq in 1..=5 {
        publish(&hub, seq);
    }
    assert_eq!(seqs(&hub, 1), None);
    assert_eq!(seqs(&hub, 2), Some((vec![3, 4, 5], 5)));
    assert_eq!(seqs(&hub, 5), Some((vec![], 5)));
    assert_eq!(seqs(&hub, 9), Some((vec![], 9)));
    assert!(hub.can_resume(at(2)) && hub.can_resume(at(5)));
    assert!(!hub.can_resume(at(1)) && !hub.can_resume(at(6)));
}

#[test]
fn a_duplicate_advances_without_a_frame() {
    let hub = hub(3);
    publish(&hub, 1);
    hub.publish(&entry(at(2)), &Outcome { duplicate: true, ..Outcome::default() });
    assert_eq!(seqs(&hub, 0), Some((vec![1], 2)));
    assert_eq!(hub.head(), at(2));
}

#[test]
fn no_reader_crosses_a_gap_or_enters_another_log() {
    let hub = hub(9);
    publish(&hub, 1);
    publish(&hub, 5);
    assert_eq!(seqs(&hub, 1), None);
    assert_eq!(seqs(&hub, 4), Some((vec![5], 5)));
    let other = Cursor { epoch: Epoch(2), seq: 6 };
    hub.publish(&entry(other), &Outcome::default());
    assert_eq!(seqs(&hub, 5), None);
    assert!(hub.can_resume(other));
    hub.reset(at(7));
    assert!(hub.can_resume(at(7)) && !hub.can_resume(at(6)) && !hub.can_resume(other));
}

#[test]
fn a_read_is_limited_in_bytes_and_reports_its_end() {
    let hub = hub(9);
    for seq in 1..=5 {
        publish(&hub, seq);
    }
    let RingRead::Frames(batch) = hub.read(at(1), 1) else { panic!("lagged") };
    assert_eq!((batch.frames.len(), batch.upto), (1, at(2)));
}

#[test]
fn bytes_are_bounded_and_accounted_for() {
    let hub = Hub::new(HubConfig { max_bytes: 4096, ..HubConfig::default() }, EPOCH);
    for seq in 1..=1000 {
        publish(&hub, seq);
        assert!(hub.held().1 <= 4096);
    }
    let ring = hub.lock();
    assert!(ring.frames.len() > 2);
    assert_eq!(ring.bytes, ring.frames.iter().map(|frame| frame.bytes()).sum::<usize>());
}

#[test]
fn an_event_matches_changed_layers_and_that_of_its_entity() {
    let hub = hub(1);
    let remove = Change::Remove { layer: Layer::City, kind: EntityType::Microdao, id: "microdao:b".into() };
    hub.publish(&entry(at(1)), &Outcome { changes: vec![remove], ..Outcome::default() });
    let RingRead::Frames(batch) = hub.read(at(0), 1) else { panic!("lagged") };
    let wants = |query: &str| StreamOptions::from_query(query).unwrap().wants(&batch.frames[0]);
    for query in ["layers=city", "layers=nodes", "entity=microdao:b", "entity=node:a", "types=node.>", ""] {
        assert!(wants(query), "{query}");
    }
    for query in ["layers=space,agents", "entity=node:b", "types=dao.>", "types=node.>&layers=agents"] {
        assert!(!wants(query), "{query}");
    }
}

proptest! {
    /// Compares with a plain list: after any sequence of publishing, eviction, gaps and resets, a reader gets exactly
    /// the frames after its position, or `Lagged`.
    #[test]
    fn a_reader_never_misses_a_frame_unnoticed(
        steps in prop::collection::vec((0_u8..20, 0_u64..3), 1..80),
        max_frames in 1_usize..10,
        after in 0_u64..100,
    ) {
        let hub = hub(max_frames);
        let (mut published, mut seq, mut gap) = (Vec::new(), 0, 0);
        for (kind, skip) in steps {
            seq += 1;
            match kind {
                0 => {
                    seq += skip;
                    gap = if skip > 0 { seq - 1 } else { gap };
                    publish(&hub, seq);
                    published.push(seq);
                }
                1 => {
                    hub.reset(at(seq));
                    gap = seq;
                }
                2..5 => hub.publish(&entry(at(seq)), &Outcome { duplicate: true, ..Outcome::default() }),
                _ => {
                    publish(&hub, seq);
                    published.push(seq);
                }
            }
        }
        published.retain(|frame| *frame > gap);
        let evicted = published.len().saturating_sub(max_frames);
        let floor = evicted.checked_sub(1).map_or(gap, |last| published[last]);
        let expected = published.into_iter().filter(|frame| *frame > after).collect();
        prop_assert_eq!(seqs(&hub, after), (after >= floor).then_some((expected, seq.max(after))));
    }
}

#[test]
fn alert_frames_follow_the_event_that_raised_them() {
    use crate::model::{Alert, AlertChange, AlertSeverity, AlertState};
    let hub = hub(2);
    let alert = |id: &str| AlertChange {
        state: AlertState::Raised,
        alert: Alert {
            id: id.into(),
            severity: AlertSeverity::Critical,
            title: "t".into(),
            message: None,
            source: None,
            entity_id: None,
            raised_at: DateTime::UNIX_EPOCH,
            rule: None,
            group: None,
            acknowledged_by: None,
            acknowledged_at: None,
            note: None,
            silenced_until: None,
            measurement: None,
        },
    };
    hub.publish(&entry(at(1)), &Outcome { alerts: vec![alert("a"), alert("b")], ..Outcome::default() });
    let RingRead::Frames(batch) = hub.read(at(0), 1) else { panic!("lagged") };
    let frame = &batch.frames[0];
    let alerts: Vec<serde_json::Value> = frame.alerts().map(|json| serde_json::from_slice(&json).unwrap()).collect();
    assert_eq!((&alerts[0]["kind"], &alerts[0]["state"]), (&json!("alert"), &json!("raised")));
    assert_eq!((&alerts[1]["alert"]["id"], &alerts[1]["cursor"]), (&json!("b"), &json!(at(1))));
    // three complete text frames in sequence
    let (mut wire, mut texts) = (&**frame.wire(), Vec::new());
    while let [0x81, length, rest @ ..] = wire {
        let (length, rest) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            length => (usize::from(*length), rest),
        };
        texts.push(&rest[..length]);
        wire = &rest[length..];
    }
    assert_eq!(texts, [&*frame.json(), &*frame.alerts().next().unwrap(), &*frame.alerts().nth(1).unwrap()]);
    assert!(wire.is_empty());
}
