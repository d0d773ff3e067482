use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::*;
use crate::history::HistoryError;
use crate::history::leases::{Lease, Leases};
use crate::model::{Service, SourceStatus};
use crate::upstream_health::UpstreamHealth;

const CONFIG: LeaseConfig = LeaseConfig { name: "leader", lasting: Duration::from_secs(5) };

#[derive(Debug, Clone)]
struct Row {
    holder: Uuid,
    token: u64,
    until: Instant,
    note: String,
}

/// The lease in a database that several replicas share, by the paused clock.
type Shared = Arc<Mutex<Option<Row>>>;

/// One replica's connection to it.
#[derive(Default)]
struct Database {
    row: Shared,
    unavailable: AtomicBool,
    hangs: AtomicBool,
}

#[async_trait]
impl Leases for Database {
    async fn acquire(&self, _: &str, holder: Uuid, lasting: Duration, note: &str) -> Result<Lease, HistoryError> {
        while self.hangs.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(100)).await;
        }
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(HistoryError::Unavailable(sqlx::Error::PoolTimedOut));
        }
        let mut row = self.row.lock().unwrap();
        let now = Instant::now();
        let token = match &*row {
            Some(held) if held.until > now && held.holder != holder => {
                return Ok(Lease { held: false, token: held.token, note: held.note.clone() });
            }
            Some(held) if held.until > now => held.token,
            held => held.as_ref().map_or(0, |held| held.token) + 1,
        };
        *row = Some(Row { holder, token, until: now + lasting, note: note.to_owned() });
        Ok(Lease { held: true, token, note: note.to_owned() })
    }

    async fn release(&self, _: &str, token: u64) -> Result<bool, HistoryError> {
        let mut row = self.row.lock().unwrap();
        let held = row.as_mut().filter(|held| held.token == token);
        Ok(held.map(|held| held.until = Instant::now()).is_some())
    }
}

struct Replica {
    database: Arc<Database>,
    upstream_health: UpstreamHealth,
    leadership: Leadership,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(row: &Shared) -> Self {
        let database = Arc::new(Database { row: Arc::clone(row), ..Database::default() });
        let (upstream_health, stop) = (UpstreamHealth::default(), CancellationToken::new());
        let election = LeaderElection::new(CONFIG, database.clone(), upstream_health.clone());
        let leadership = election.leadership();
        let task = tokio::spawn(election.run(stop.clone()));
        Self { database, upstream_health, leadership, stop, task }
    }

    /// Like `kill -9`.
    fn kill(&self) {
        self.task.abort();
    }

    fn role(&self) -> Role {
        self.leadership.status().role
    }

    async fn leads(&self) {
        let mut status = self.leadership.status.subscribe();
        status.wait_for(|status| matches!(status.role, Role::Leading(_))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_replica_leads_and_another_follows_when_its_lease_expires() {
    let row = Shared::default();
    let first = Replica::start(&row);
    first.leads().await;
    let others = [Replica::start(&row), Replica::start(&row)];
    sleep(CONFIG.lasting * 3).await;
    assert_eq!(first.role(), Role::Leading(Some(1)), "the leader keeps the lease as long as it runs");
    assert!(others.iter().all(|other| other.role() == Role::Following));
    first.kill();
    let killed = Instant::now();
    futures::future::select(Box::pin(others[0].leads()), Box::pin(others[1].leads())).await;
    assert!(killed.elapsed() + CONFIG.interval() >= CONFIG.lasting, "before the lease expired");
    assert!(killed.elapsed() <= CONFIG.lasting + CONFIG.interval(), "{:?}", killed.elapsed());
    sleep(CONFIG.lasting).await;
    let roles = others.each_ref().map(Replica::role);
    assert!(roles.contains(&Role::Leading(Some(2))) && roles.contains(&Role::Following), "{roles:?}");
}

#[tokio::test(start_paused = true)]
async fn a_planned_stop_passes_the_lease_on_at_the_next_attempt() {
    let row = Shared::default();
    let first = Replica::start(&row);
    first.leads().await;
    let second = Replica::start(&row);
    sleep(CONFIG.lasting).await;
    first.stop.cancel();
    let stopped = Instant::now();
    second.leads().await;
    assert!(stopped.elapsed() <= CONFIG.interval());
    assert_eq!(first.role(), Role::Following);
}

/// Counts concurrent runs.
async fn work(running: Arc<AtomicUsize>, runs: Arc<AtomicUsize>, stop: CancellationToken) {
    runs.fetch_add(1, Ordering::SeqCst);
    running.fetch_add(1, Ordering::SeqCst);
    stop.cancelled().await;
    running.fetch_sub(1, Ordering::SeqCst);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_can_lead() {
    for hangs in [false, true] {
        let row = Shared::default();
        let replicas = [Replica::start(&row), Replica::start(&row)];
        let (running, runs) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let stop = CancellationToken::new();
        for replica in &replicas {
            let (leadership, stop) = (replica.leadership.clone(), stop.clone());
            let (running, runs) = (Arc::clone(&running), Arc::clone(&runs));
            tokio::spawn(async move {
                leadership.while_leading(stop, |stop| work(Arc::clone(&running), Arc::clone(&runs), stop)).await;
            });
        }
        sleep(CONFIG.lasting).await;
        assert_eq!(running.load(Ordering::SeqCst), 1);
        let holder = replicas.iter().find(|replica| replica.role() != Role::Following).unwrap();
        holder.database.unavailable.store(!hangs, Ordering::SeqCst);
        holder.database.hangs.store(hangs, Ordering::SeqCst);
        let until = row.lock().unwrap().as_ref().unwrap().until;
        sleep_until(until - Duration::from_millis(1)).await;
        assert_eq!(running.load(Ordering::SeqCst), 0, "it still runs when another replica may acquire the lease");
        assert_eq!(holder.role(), Role::Unknown);
        assert_eq!(holder.leadership.status().error.is_some(), !hangs);
        sleep(CONFIG.lasting).await;
        assert_eq!((running.load(Ordering::SeqCst), runs.load(Ordering::SeqCst)), (1, 2), "the other replica leads");
        holder.database.unavailable.store(false, Ordering::SeqCst);
        holder.database.hangs.store(false, Ordering::SeqCst);
        sleep(CONFIG.lasting).await;
        assert_eq!((holder.role(), running.load(Ordering::SeqCst)), (Role::Following, 1));
        stop.cancel();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(running.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_outlives_the_lease_is_aborted() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let replica = Replica::start(&Shared::default());
    let (leadership, dropped) = (replica.leadership.clone(), Arc::new(AtomicBool::new(false)));
    let guard = Arc::clone(&dropped);
    tokio::spawn(async move {
        let ignores_stop = |_| {
            let guard = Dropped(Arc::clone(&guard));
            async move {
                std::future::pending::<()>().await;
                drop(guard);
            }
        };
        leadership.while_leading(CancellationToken::new(), ignores_stop).await;
    });
    replica.leads().await;
    sleep(CONFIG.lasting).await;
    replica.database.unavailable.store(true, Ordering::SeqCst);
    sleep(CONFIG.lasting).await;
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn unless_following_runs_on_all_while_leadership_is_unknown() {
    let row = Shared::default();
    let replicas = [Replica::start(&row), Replica::start(&row)];
    let (running, runs) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    for replica in &replicas {
        let (leadership, running, runs) = (replica.leadership.clone(), Arc::clone(&running), Arc::clone(&runs));
        tokio::spawn(async move {
            let stop = CancellationToken::new();
            leadership.unless_following(stop, |stop| work(Arc::clone(&running), Arc::clone(&runs), stop)).await;
        });
    }
    sleep(CONFIG.lasting).await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
    for replica in &replicas {
        replica.database.unavailable.store(true, Ordering::SeqCst);
    }
    sleep(CONFIG.lasting * 2).await;
    assert_eq!(running.load(Ordering::SeqCst), 2);
    for replica in &replicas {
        replica.database.unavailable.store(false, Ordering::SeqCst);
    }
    sleep(CONFIG.lasting).await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn followers_know_the_leaders_upstream_health() {
    let row = Shared::default();
    let leader = Replica::start(&row);
    leader.leads().await;
    let follower = Replica::start(&row);
    leader.upstream_health.record_success(Service::City, Utc::now());
    leader.upstream_health.record_failure(Service::Dao, "no answer");
    sleep(CONFIG.interval() * 3).await;
    let now = Utc::now();
    assert_eq!(follower.upstream_health.health(now), leader.upstream_health.health(now));
    // and keep it when they become leader
    leader.kill();
    follower.leads().await;
    assert_eq!(follower.upstream_health.status(Service::City), SourceStatus::Ok);
    assert_eq!(follower.upstream_health.status(Service::Dao), SourceStatus::Down);
}

#[tokio::test]
async fn permanent_leadership_lasts_from_start_to_end() {
    let (leadership, stop) = (Leadership::permanent(), CancellationToken::new());
    let (running, runs) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let work = leadership.while_leading(stop.clone(), |stop| work(Arc::clone(&running), Arc::clone(&runs), stop));
    let watch = async {
        while running.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(work, watch);
    assert_eq!((running.load(Ordering::SeqCst), runs.load(Ordering::SeqCst)), (0, 1));
}
