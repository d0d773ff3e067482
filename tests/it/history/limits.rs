//! Time limits of queries, in both databases.

use std::time::Duration;

use living_map::history::{AggregateQuery, GroupBy, HistoryConfig, HistoryError, HistoryQuery};

use super::{Private, at, entry, postgres, sqlite};

#[tokio::test]
async fn postgres_ends_a_query_that_takes_too_long() {
    ends_a_query_that_takes_too_long(postgres(&config()).await).await;
}

#[tokio::test]
async fn sqlite_ends_a_query_that_takes_too_long() {
    ends_a_query_that_takes_too_long(sqlite(&config()).await).await;
}

/// Less than the time to count these rows.
fn config() -> HistoryConfig {
    HistoryConfig { read_timeout: Duration::from_millis(1), reader_connections: 1, ..HistoryConfig::default() }
}

async fn ends_a_query_that_takes_too_long(private: Private) {
    let history = private.history;
    for first in (1..=60_000).step_by(10_000) {
        history.write(&(first..first + 10_000).map(entry).collect::<Vec<_>>()).await.unwrap();
    }
    let all = AggregateQuery {
        filter: HistoryQuery::default(),
        since: at(0),
        until: at(100_000),
        origin: at(0),
        bucket: Duration::from_secs(1),
        group_by: GroupBy::EntityId,
        groups: 3,
    };
    let error = history.aggregate(&all).await.unwrap_err();
    assert!(matches!(error, HistoryError::TooSlow(_)), "{error:?}");
    // the only connection is still usable
    let none = AggregateQuery { since: at(-5_000), until: at(-4_000), origin: at(-5_000), ..all };
    crate::support::wait::until("a small question to be answered", || async {
        history.aggregate(&none).await.ok().filter(|counts| counts.series.is_empty())
    })
    .await;
    history.close().await;
}
