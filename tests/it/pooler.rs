//! `PostgreSQL` behind `PgBouncer`. The shared suites of the history, the lessons and the table log are run through it too.

mod servers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use living_map::history::leases::Lease;
use living_map::history::{
    self, Database, HistoryConfig, HistoryError, HistoryQuery, OpenError, Pooler, Storage, StorageConfig,
};
use living_map::model::NewLesson;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use uuid::Uuid;

use crate::history::{EPOCH, all_pages, entry};
use crate::learner::memory::new;
use crate::support::daemon::Folder;
use crate::support::pgbouncer::{POOL_SIZE, PgBouncer};
use crate::support::postgres::database;
use crate::support::tcp_proxy::TcpProxy;
use crate::support::wait::until;

/// Makes the pooler accept a client that expects no pooler.
const LENIENT: &str = "ignore_startup_parameters = extra_float_digits";

fn behind(pooler: Pooler) -> HistoryConfig {
    HistoryConfig { pooler, ..HistoryConfig::default() }
}

async fn open(url: &str, config: &HistoryConfig) -> Database {
    history::open(url, config).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn refusal(url: &str, config: &HistoryConfig) -> OpenError {
    match history::open(url, config).await {
        Ok(_) => panic!("the database was opened"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_exact_through_a_pooler_that_rejects_startup_parameters() {
    for mode in [Pooler::Session, Pooler::Transaction] {
        let url = database().await;
        // each session keeps a connection of the database
        let pooler = PgBouncer::start(&url, mode, "default_pool_size = 20").await;
        let history = open(&pooler.url(&url), &behind(mode)).await.history;
        let numbers = json!([0.1, 1.0 / 3.0, 5e-324, 1.797_693_134_862_315_7e308, 123_456_789.123_456_79]);
        let mut written = entry(1);
        written.event.payload = numbers.clone();
        history.write(&[written]).await.unwrap();
        assert_eq!(history.read_log(EPOCH, 0, 10).await.unwrap()[0].event.payload, numbers);
        assert_eq!(all_pages(&*history, &HistoryQuery::default(), 10).await[0].payload, numbers);
        history.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_is_not_declared_is_rejected_by_the_setting() {
    let url = database().await;
    let strict = PgBouncer::start(&url, Pooler::Transaction, "").await;
    let error = refusal(&strict.url(&url), &behind(Pooler::None)).await;
    assert!(error.to_string().contains("set DATABASE_POOLER"), "{error}");

    let lenient = PgBouncer::start(&url, Pooler::Transaction, LENIENT).await;
    let learner = HistoryConfig { pooler_setting: "LEARNER_DATABASE_POOLER", ..behind(Pooler::Session) };
    for (config, expected) in [
        (behind(Pooler::None), "DATABASE_POOLER=none, but"),
        (behind(Pooler::Session), "DATABASE_POOLER=session, but"),
        (learner, "set LEARNER_DATABASE_POOLER=transaction"),
    ] {
        let error = refusal(&lenient.url(&url), &config).await;
        assert!(matches!(error, OpenError::Pooled { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }

    let divided = PgBouncer::start(&url, Pooler::Transaction, &format!("{LENIENT}\npool_mode = statement")).await;
    let error = refusal(&divided.url(&url), &behind(Pooler::None)).await;
    assert!(error.to_string().contains("DATABASE_POOLER"), "{error}");

    // a session pooler serves a client that does not know of it, and nothing was migrated by those that were rejected
    let mut direct = PgConnection::connect(&url).await.unwrap();
    let tables = direct.fetch_all("SELECT FROM pg_tables WHERE schemaname = 'public'").await.unwrap();
    assert_eq!(tables.len(), 0);
    let session = PgBouncer::start(&url, Pooler::Session, LENIENT).await;
    open(&session.url(&url), &behind(Pooler::None)).await.history.close().await;
}

/// The server process that executes a transaction changes by chance while the pooler has other clients.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_pooler_that_is_not_declared_is_rejected() {
    let url = database().await;
    let pooler = PgBouncer::start(&url, Pooler::Transaction, LENIENT).await;
    let mut clients = Vec::new();
    for _ in 0..2 * POOL_SIZE {
        let mut connection = pooler.connect(&url).await;
        clients.push(tokio::spawn(async move {
            loop {
                connection.execute("SELECT pg_sleep(random() / 500)").await.unwrap();
            }
        }));
    }
    for _ in 0..20 {
        for declared in [Pooler::None, Pooler::Session] {
            let error = refusal(&pooler.url(&url), &behind(declared)).await;
            assert!(matches!(error, OpenError::Pooled { .. }), "{error:?}");
        }
    }
    clients.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Reads in read-only transactions with their own limits, and writes, over the same connections of the database.
#[tokio::test(flavor = "multi_thread")]
async fn settings_and_statements_stay_in_their_transactions() {
    let url = database().await;
    let pooler = PgBouncer::start(&url, Pooler::Transaction, "").await;
    let config = HistoryConfig { lease_timeout: Duration::from_secs(10), ..behind(Pooler::Transaction) };
    let database = open(&pooler.url(&url), &config).await;
    let history = &database.history;
    let work = (1..=200).map(async |seq: u64| {
        history.write(&[entry(seq)]).await.unwrap();
        history.query(&HistoryQuery { limit: 5, ..HistoryQuery::default() }).await.unwrap();
        database.leases.acquire("some", Uuid::new_v4(), Duration::ZERO, "").await.unwrap();
        database.lessons.upsert(&[new(i64::try_from(seq).unwrap(), None, "text")], None).await.unwrap();
    });
    futures::StreamExt::collect::<Vec<()>>(futures::StreamExt::buffer_unordered(futures::stream::iter(work), 10)).await;
    assert_eq!(history.read_log(EPOCH, 0, 1_000).await.unwrap().len(), 200);

    // all connections of the database at once
    let mut connections = join_all((0..POOL_SIZE).map(|_| pooler.connect(&url))).await;
    let mut processes = HashMap::new();
    for connection in &mut connections {
        connection.execute("BEGIN").await.unwrap();
        let state = "SELECT pg_backend_pid(), current_setting('default_transaction_read_only'), \
            current_setting('transaction_read_only'), current_setting('statement_timeout'), current_setting('jit'), \
            current_setting('idle_in_transaction_session_timeout'), current_setting('work_mem'), \
            (SELECT count(*)::text FROM pg_prepared_statements), \
            (SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory')";
        let row = connection.fetch_one(state).await.unwrap();
        let process: i32 = row.get(0);
        let state: Vec<String> = (1..row.len()).map(|column| row.get(column)).collect();
        processes.insert(process, state);
    }
    assert_eq!(processes.len(), POOL_SIZE);
    for state in processes.values() {
        assert_eq!(state[..], ["off", "off", "0", "on", "0", "4MB", "0", "0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_url_apply_through_a_pooler() {
    for mode in [Pooler::Session, Pooler::Transaction] {
        let url = database().await;
        let mut direct = PgConnection::connect(&url).await.unwrap();
        direct.execute(r#"CREATE SCHEMA "its own""#).await.unwrap();
        let pooler = PgBouncer::start(&url, mode, "default_pool_size = 20").await;
        let pooled = format!("{}&options=-c%20search_path%3D%22its%5C%20own%22", pooler.url(&url));
        let history = open(&pooled, &behind(mode)).await.history;
        history.write(&[entry(1)]).await.unwrap();
        assert_eq!(history.read_log(EPOCH, 0, 10).await.unwrap().len(), 1);
        let tables = direct.fetch_all("SELECT DISTINCT schemaname::text FROM pg_tables WHERE tablename LIKE 'living%'");
        let schemas: Vec<String> = tables.await.unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(schemas, ["its own"]);
        history.close().await;
        let error = refusal(&format!("{}&options=search_path", pooler.url(&url)), &behind(mode)).await;
        assert!(matches!(error, OpenError::Url(_)), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_at_once_migrate_once() {
    for (mode, config) in [(Pooler::None, ""), (Pooler::Transaction, "default_pool_size = 2")] {
        let url = database().await;
        let pooler = PgBouncer::start(&url, Pooler::Transaction, config).await;
        let opened = if mode == Pooler::None { url.clone() } else { pooler.url(&url) };
        join_all((0..6).map(async |_| open(&opened, &behind(mode)).await.history.close().await)).await;
        let mut direct = PgConnection::connect(&url).await.unwrap();
        let versions = "SELECT count(*) = count(DISTINCT version) AND bool_and(success) FROM living_map_migrations";
        assert!(direct.fetch_one(versions).await.unwrap().get::<bool, _>(0));
        // a later version has been here
        direct.execute("UPDATE living_map_migrations SET version = 9999 WHERE version = 1").await.unwrap();
        let error = refusal(&opened, &behind(mode)).await;
        assert!(error.to_string().contains("a newer or another version of Living Map"), "{error}");
        direct
            .execute("UPDATE living_map_migrations SET version = 1, checksum = '' WHERE version = 9999")
            .await
            .unwrap();
        let error = refusal(&opened, &behind(mode)).await;
        assert!(error.to_string().contains("(migration 1)"), "{error}");
    }
}

/// A request that its client gives up ends in the middle of a transaction, perhaps before `BEGIN` was answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_transaction_takes_no_later_write_with_it() {
    for mode in [Pooler::None, Pooler::Transaction] {
        let url = database().await;
        let pooler = PgBouncer::start(&url, Pooler::Transaction, "").await;
        let opened = if mode == Pooler::None { url.clone() } else { pooler.url(&url) };
        let config = HistoryConfig { writer_connections: 1, test_idle_after: Duration::MAX, ..behind(mode) };
        let database = open(&opened, &config).await;
        database.history.write(&[entry(1_000)]).await.unwrap();
        for seq in 1..=100 {
            let lessons: [NewLesson; 1] = [new(i64::try_from(seq).unwrap(), None, "text")];
            let upsert = database.lessons.upsert(&lessons, None);
            let _ = tokio::time::timeout(Duration::from_micros(seq * 20), upsert).await;
            database.history.write(&[entry(seq)]).await.unwrap();
            let mut direct = PgConnection::connect(&url).await.unwrap();
            let count = AssertSqlSafe(format!("SELECT count(*) FROM living_map_history WHERE seq = {seq}"));
            assert_eq!(
                direct.fetch_one(count).await.unwrap().get::<i64, _>(0),
                1,
                "{mode}: write {seq} is not durable"
            );
        }
        database.history.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_pooler_is_used_again_without_an_error() {
    let url = database().await;
    let mut pooler = PgBouncer::start(&url, Pooler::Transaction, "").await;
    let history = open(&pooler.url(&url), &behind(Pooler::Transaction)).await.history;
    for round in 0..3 {
        let reads = (0..8).map(|_| history.read_log(EPOCH, 0, 10));
        join_all(reads).await.into_iter().for_each(|read| drop(read.unwrap()));
        pooler.restart().await;
        history.write(&[entry(round + 1)]).await.unwrap();
        assert_eq!(history.read_log(EPOCH, 0, 10).await.unwrap().len() as u64, round + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_without_a_free_connection_is_reported_soon() {
    let url = database().await;
    let pooler = PgBouncer::start(&url, Pooler::Transaction, "").await;
    let config = HistoryConfig { acquire_timeout: Duration::from_millis(500), ..behind(Pooler::Transaction) };
    let history = open(&pooler.url(&url), &config).await.history;
    history.write(&[entry(1)]).await.unwrap();
    let mut others = join_all((0..POOL_SIZE).map(|_| pooler.connect(&url))).await;
    for other in &mut others {
        other.execute("BEGIN").await.unwrap();
    }
    let began = Instant::now();
    let calls = [history.read_log(EPOCH, 0, 1).await.map(drop), history.write(&[entry(2)]).await.map(drop)];
    for call in calls.into_iter().chain([history.ping().await]) {
        assert!(matches!(call, Err(HistoryError::Unavailable(_))), "{call:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(others);
    until("it to answer again", || async { history.write(&[entry(2)]).await.ok() }).await;
    assert_eq!(history.read_log(EPOCH, 0, 10).await.unwrap().len(), 2);
}

/// Behind a pooler in transaction mode, with a short lease.
fn leased() -> HistoryConfig {
    let table_log_lease = Duration::from_millis(500);
    HistoryConfig { table_log_lease, acquire_timeout: Duration::from_millis(300), ..behind(Pooler::Transaction) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_holder_of_the_table_log_cannot_append() {
    let url = database().await;
    let pooler = PgBouncer::start(&url, Pooler::Transaction, "").await;
    let proxy = TcpProxy::to_url(&pooler.url(&url)).await;
    let suspended = open(&proxy.url_of(&url), &leased()).await.history;
    assert!(suspended.lock_table_log().await.unwrap());
    suspended.append(&[entry(1)]).await.unwrap();
    let next = open(&pooler.url(&url), &leased()).await.history;
    assert!(!next.lock_table_log().await.unwrap(), "the lease is renewed");
    proxy.block(true);
    // a renewal may have been under way
    until("the lease to end", || async { next.lock_table_log().await.unwrap().then_some(()) }).await;
    next.append(&[entry(2)]).await.unwrap();
    proxy.block(false);
    until("the first holder to know", || async {
        match suspended.append(&[entry(3)]).await {
            Err(HistoryError::Unavailable(error)) => error.to_string().contains("another process").then_some(()),
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert!(suspended.change_table_epoch().await.is_err(), "it changes the epoch of another one's log");
    assert!(!suspended.lock_table_log().await.unwrap());
    assert_eq!(next.read_log(EPOCH, 0, 10).await.unwrap().len(), 2);
    next.close().await;
    assert!(suspended.lock_table_log().await.unwrap(), "a planned stop releases the lease");
    suspended.append(&[entry(3)]).await.unwrap();
}

/// An append whose lease has ended meanwhile: the next holder waits for its transaction, and reads the entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_append_is_committed_before_the_next_holder_begins() {
    let url = database().await;
    let pooler = PgBouncer::start(&url, Pooler::Transaction, "").await;
    let holder = open(&pooler.url(&url), &leased()).await.history;
    assert!(holder.lock_table_log().await.unwrap());
    // keeps the append waiting within its transaction, after the check of its token
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut locked = other.begin().await.unwrap();
    locked.execute("LOCK TABLE living_map_history IN SHARE MODE").await.unwrap();
    let appending = tokio::spawn({
        let holder = Arc::clone(&holder);
        async move { holder.append(&[entry(1)]).await }
    });
    let mut direct = PgConnection::connect(&url).await.unwrap();
    let waiting = "SELECT FROM pg_locks WHERE relation = 'living_map_history'::regclass AND NOT granted";
    let direct = tokio::sync::Mutex::new(&mut direct);
    until("the append to wait", || async {
        (!direct.lock().await.fetch_all(waiting).await.unwrap().is_empty()).then_some(())
    })
    .await;
    let next = open(&pooler.url(&url), &HistoryConfig { write_timeout: Duration::from_secs(20), ..leased() }).await;
    let taking = tokio::spawn(async move { (next.history.lock_table_log().await, next) });
    // the append's check keeps the lease from being renewed
    let ended = "SELECT FROM living_map_leases, pg_stat_activity WHERE expires_at < clock_timestamp()
        AND datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INTO living_map_leases%'";
    until("the lease to end, and the next holder to wait", || async {
        (!direct.lock().await.fetch_all(ended).await.unwrap().is_empty()).then_some(())
    })
    .await;
    assert!(!taking.is_finished(), "the lease is acquired before the append has ended");
    locked.rollback().await.unwrap();
    assert_eq!(appending.await.unwrap().unwrap().inserted, 1);
    // either one has it now
    let (_, next) = taking.await.unwrap();
    assert_eq!(next.history.read_log(EPOCH, 0, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_and_pooled_servers_exclude_each_other_from_the_table_log() {
    let url = database().await;
    let pooler = PgBouncer::start(&url, Pooler::Transaction, "").await;
    let direct = open(&url, &behind(Pooler::None)).await.history;
    let pooled = open(&pooler.url(&url), &leased()).await.history;
    assert!(direct.lock_table_log().await.unwrap());
    direct.append(&[entry(1)]).await.unwrap();
    assert!(!pooled.lock_table_log().await.unwrap());
    assert!(pooled.append(&[entry(2)]).await.is_err());
    direct.close().await;
    until("the pooled one to have it", || async { pooled.lock_table_log().await.unwrap().then_some(()) }).await;
    pooled.append(&[entry(2)]).await.unwrap();
    let again = open(&url, &behind(Pooler::None)).await.history;
    assert!(!again.lock_table_log().await.unwrap());
    pooled.close().await;
    assert!(again.lock_table_log().await.unwrap());
    assert_eq!(again.read_log(EPOCH, 0, 10).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_acquired_through_a_pooler_by_one() {
    let url = database().await;
    let pooler = PgBouncer::start(&url, Pooler::Transaction, "").await;
    let pooled = pooler.url(&url);
    let config = HistoryConfig { lease_timeout: Duration::from_secs(10), ..behind(Pooler::Transaction) };
    let stores = [open(&pooled, &config).await, open(&pooled, &config).await];
    let attempts =
        stores.iter().cycle().take(12).map(async |store| {
            store.leases.acquire("leader", Uuid::new_v4(), Duration::from_mins(1), "").await.unwrap()
        });
    let leases: Vec<Lease> = join_all(attempts).await;
    assert_eq!(leases.iter().filter(|lease| lease.held).count(), 1);
    assert!(leases.iter().all(|lease| lease.token == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_lessons_has_a_pooler_of_its_own() {
    let (main, lessons) = (database().await, database().await);
    let pooler = PgBouncer::start(&lessons, Pooler::Transaction, LENIENT).await;
    let config = |learner_pooler| StorageConfig {
        url: main.clone(),
        learner_url: Some(pooler.url(&lessons)),
        learner_pooler,
        ..StorageConfig::default()
    };
    let Err(error) = Storage::open(config(None)).await.map(drop) else { panic!("it was opened") };
    let error = format!("{error:#}");
    assert!(error.contains("LEARNER_DATABASE_URL cannot be used: LEARNER_DATABASE_POOLER=none, but"), "{error}");
    let storage = Storage::open(config(Some(Pooler::Transaction))).await.unwrap();
    storage.lessons.upsert(&[new(1, None, "text")], None).await.unwrap();
    storage.close().await;
    let mut direct = PgConnection::connect(&lessons).await.unwrap();
    let rows = direct.fetch_one("SELECT count(*) FROM agent_lessons").await.unwrap();
    assert_eq!(rows.get::<i64, _>(0), 1);
}

#[test]
fn a_pooler_in_front_of_a_file_is_rejected() {
    let folder = Folder::new("pooler");
    let file = format!("sqlite://{}/map.db", folder.path().display());
    let postgres = "postgres://map@127.0.0.1:6432/map".to_owned();
    let config = |url: &str, learner: &str, pooler, learner_pooler| StorageConfig {
        url: url.to_owned(),
        learner_url: Some(learner.to_owned()),
        learner_pooler,
        database: behind(pooler),
    };
    let problems = |config: StorageConfig| -> Vec<String> {
        config.check().into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect()
    };
    let pooled = Pooler::Transaction;
    assert_eq!(problems(config(&postgres, &file, pooled, None)), [""; 0], "a file inherits no pooler");
    assert_eq!(problems(config(&file, &postgres, Pooler::None, Some(pooled))), [""; 0]);
    let [main] = &problems(config(&file, &postgres, pooled, None))[..] else { panic!("one problem") };
    assert!(main.contains("DATABASE_URL cannot be used: DATABASE_POOLER=transaction"), "{main}");
    let [learner] = &problems(config(&postgres, &file, pooled, Some(pooled)))[..] else { panic!("one problem") };
    assert!(learner.contains("LEARNER_DATABASE_POOLER=transaction"), "{learner}");
}
