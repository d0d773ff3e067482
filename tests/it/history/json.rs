//! The promise of the normal form: a database returns the same JSON.

use living_map::history::{History, HistoryConfig};
use living_map::model::{LogEntry, json};
use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{EPOCH, entry, postgres, sqlite};

fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        // where integers and floats meet, and powers of ten
        (-400..400_i32, any::<bool>())
            .prop_map(|(exponent, minus)| { Value::from(if minus { -1.0 } else { 1.0 } * 10_f64.powi(exponent)) }),
        (any::<u32>(), -3..12_i32).prop_map(|(n, scale)| Value::from(f64::from(n) * 10_f64.powi(scale))),
    ];
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        3 => number,
        2 => ".{0,12}".prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn gives_back_the_same(runtime: &Runtime, history: &dyn History) {
    let written = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(64), |(values in prop::collection::vec(value(), 1..32))| {
        let first = written.get() + 1;
        let entries: Vec<LogEntry> = values
            .into_iter()
            .zip(first..)
            .map(|(value, seq)| {
                let mut entry = entry(seq);
                entry.event.payload = json::normalise(value);
                entry.event.envelope = entry.event.payload.as_object().filter(|map| !map.is_empty()).cloned();
                entry
            })
            .collect();
        written.set(first + entries.len() as u64);
        runtime.block_on(history.write(&entries)).expect("the events can be written");
        let read = runtime.block_on(history.read_log(EPOCH, first - 1, 100)).expect("the events can be read");
        // equal values may still be written differently (1 and 1.0)
        let texts = |entries: &[LogEntry]| entries.iter().map(|entry| entry.event.payload.to_string()).collect::<Vec<_>>();
        prop_assert_eq!(texts(&read), texts(&entries));
        prop_assert_eq!(read, entries);
    });
}

#[test]
fn postgres_returns_the_same_json() {
    let runtime = Runtime::new().unwrap();
    let private = runtime.block_on(postgres(&HistoryConfig::default()));
    gives_back_the_same(&runtime, &*private.history);
}

#[test]
fn sqlite_returns_the_same_json() {
    let runtime = Runtime::new().unwrap();
    let private = runtime.block_on(sqlite(&HistoryConfig::default()));
    gives_back_the_same(&runtime, &*private.history);
}
