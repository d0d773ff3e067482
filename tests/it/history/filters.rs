//! Filters compared with a model: rows in memory, filtered by plain code.

use std::collections::BTreeMap;
use std::time::Duration;

use living_map::history::aggregate::Series;
use living_map::history::{Aggregate, AggregateQuery, GroupBy, History, HistoryConfig, HistoryQuery, Total};
use living_map::model::subject::Pattern;
use living_map::model::{EntityType, Event, LogEntry};
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::Runtime;

use super::{all_pages, at, entry, postgres, sqlite};

/// Names with all characters that some database treats as a wildcard or as the end of a text.
const TOKENS: [&str; 12] = ["a", "b", "A", "%", "_", "[ab]", "?", "\\", "a%", "(a|b)+", "'", "\""];
const SOURCES: [&str; 3] = ["agents", "%", "o'neill"];
const ENTITIES: [&str; 4] = ["agent:a", "agent:b", "microdao:1", "a'b"];

fn tokens(with_wildcards: bool) -> impl Strategy<Value = Vec<&'static str>> {
    let wildcards = if with_wildcards { 6 } else { 0 };
    let token = prop_oneof![4 => select(&TOKENS[..]), 8 => select(&TOKENS[..2]), wildcards => Just("*")];
    prop::collection::vec(token, 1..4)
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let optional = |names: &'static [&'static str]| prop::option::of(select(names).prop_map(str::to_owned));
    let event =
        (tokens(false), 0..20_i64, optional(&SOURCES), optional(&ENTITIES), prop::option::of(select(EntityType::ALL)))
            .prop_map(|(subject, millis, source_service, entity_id, entity_type)| Event {
                event_type: subject.join("."),
                timestamp: at(millis),
                source_service,
                entity_id,
                entity_type,
                ..entry(1).event
            });
    prop::collection::vec(event, 60)
}

fn query() -> impl Strategy<Value = HistoryQuery> {
    let pattern = (tokens(true), any::<bool>()).prop_map(|(tokens, open)| {
        let text = tokens.join(".") + if open { ".>" } else { "" };
        text.parse::<Pattern>().expect("a pattern")
    });
    let pattern = prop_oneof![8 => pattern, 1 => Just(">".parse().unwrap())];
    let time = || prop::option::weighted(0.3, (0..20_i64).prop_map(at));
    (
        time(),
        time(),
        prop::option::weighted(0.7, pattern),
        prop::collection::vec(select(&ENTITIES[..]).prop_map(str::to_owned), 0..3),
        prop::option::weighted(0.2, select(EntityType::ALL)),
        prop::option::weighted(0.2, select(&SOURCES[..]).prop_map(str::to_owned)),
    )
        .prop_map(|(since, until, event_type, entity_ids, entity_type, source_service)| HistoryQuery {
            since,
            until,
            event_type,
            entity_ids,
            entity_type,
            source_service,
            ..HistoryQuery::default()
        })
}

fn matches(query: &HistoryQuery, event: &Event) -> bool {
    query.since.is_none_or(|since| event.timestamp >= since)
        && query.until.is_none_or(|until| event.timestamp < until)
        && query.event_type.as_ref().is_none_or(|pattern| pattern.matches(&event.event_type))
        && (query.entity_ids.is_empty() || event.entity_id.as_ref().is_some_and(|id| query.entity_ids.contains(id)))
        && query.entity_type.is_none_or(|kind| event.entity_type == Some(kind))
        && query.source_service.as_ref().is_none_or(|source| event.source_service.as_ref() == Some(source))
}

/// The counts of these events.
fn count(asked: &AggregateQuery, events: &[&Event]) -> Aggregate {
    let empty = vec![0; usize::try_from(asked.buckets()).unwrap()];
    let mut groups: BTreeMap<Option<&str>, Vec<u64>> = BTreeMap::new();
    for event in events.iter().filter(|event| (asked.since..asked.until).contains(&event.timestamp)) {
        let key = match asked.group_by {
            GroupBy::EventType => Some(&*event.event_type),
            GroupBy::EntityId => event.entity_id.as_deref(),
            GroupBy::SourceService => event.source_service.as_deref(),
        };
        let bucket = usize::try_from((event.timestamp - asked.origin).num_milliseconds() / 5).unwrap();
        groups.entry(key).or_insert_with(|| empty.clone())[bucket] += 1;
    }
    let mut series: Vec<Series> =
        groups.into_iter().map(|(key, counts)| Series { key: key.map(str::to_owned), counts }).collect();
    // the largest first, then by name, the group without a name last
    series.sort_by_key(|series| {
        (std::cmp::Reverse(series.counts.iter().sum::<u64>()), series.key.is_none(), series.key.clone())
    });
    let others = series.split_off(series.len().min(asked.groups as usize));
    let mut other = if others.is_empty() { Vec::new() } else { empty };
    for group in &others {
        other.iter_mut().zip(&group.counts).for_each(|(sum, count)| *sum += count);
    }
    Aggregate { series, other, other_groups: others.len() as u64 }
}

/// The database answers like the model. Each case adds its events to those of the cases before.
fn answers_as_the_model_does(runtime: &Runtime, history: &dyn History) {
    let recorded = std::cell::RefCell::new(Vec::<Event>::new());
    proptest!(ProptestConfig::with_cases(24), |(events in events(), queries in prop::collection::vec(query(), 8), limit in 5..70_u32)| {
        let mut recorded = recorded.borrow_mut();
        let first = recorded.len() as u64 + 1;
        // shrunk cases come with the same ids again
        let events = events.into_iter().map(|event| Event { id: uuid::Uuid::new_v4(), ..event });
        let entries: Vec<LogEntry> = events.zip(first..).map(|(event, seq)| LogEntry { event, ..entry(seq) }).collect();
        runtime.block_on(history.write(&entries)).expect("the events can be written");
        recorded.extend(entries.into_iter().map(|entry| entry.event));
        recorded.sort_by_key(|event| std::cmp::Reverse((event.timestamp, event.id)));
        for query in queries {
            let expected: Vec<&Event> = recorded.iter().filter(|event| matches(&query, event)).collect();
            let found = runtime.block_on(all_pages(history, &query, limit));
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected.clone(), "{:?}", query);
            // totals that are counted, and totals known from the page
            for (limit, offset) in [(limit, 0), (limit, 7), (1_000, 0), (1_000, 1), (1_000, 1_000)] {
                let query = HistoryQuery { limit, offset, ..query.clone() };
                let page = runtime.block_on(history.query(&query)).expect("a page");
                prop_assert_eq!(page.total, Total { rows: expected.len() as u64, exact: true }, "{:?}", query);
            }
            for group_by in [GroupBy::EventType, GroupBy::EntityId, GroupBy::SourceService] {
                let asked = AggregateQuery {
                    filter: query.clone(),
                    since: query.since.unwrap_or(at(0)),
                    until: query.until.unwrap_or(at(20)),
                    origin: at(-3),
                    bucket: Duration::from_millis(5),
                    group_by,
                    groups: limit % 4 + 1,
                };
                let counted = runtime.block_on(history.aggregate(&asked)).expect("counts");
                prop_assert_eq!(counted, count(&asked, &expected), "{:?}", asked);
            }
        }
    });
}

fn config() -> HistoryConfig {
    HistoryConfig { count_ttl: std::time::Duration::ZERO, ..HistoryConfig::default() }
}

#[test]
fn postgres_answers_as_the_model_does() {
    let runtime = Runtime::new().unwrap();
    let private = runtime.block_on(postgres(&config()));
    answers_as_the_model_does(&runtime, &*private.history);
}

#[test]
fn sqlite_answers_as_the_model_does() {
    let runtime = Runtime::new().unwrap();
    let private = runtime.block_on(sqlite(&config()));
    answers_as_the_model_does(&runtime, &*private.history);
}
