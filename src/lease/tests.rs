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

/// A database that several servers share, by the paused clock.
type Shared = Arc<Mutex<Option<Row>>>;

/// One server's way to it.
#[derive(Default)]
struct Way {
    row: Shared,
    away: AtomicBool,
    hangs: AtomicBool,
}

#[async_trait]
impl Leases for Way {
    async fn hold(&self, _: &str, holder: Uuid, lasting: Duration, note: &str) -> Result<Lease, HistoryError> {
        while self.hangs.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(100)).await;
        }
        if self.away.load(Ordering::SeqCst) {
            return Err(HistoryError::Unavailable(sqlx::Error::PoolTimedOut));
        }
        let mut row = self.row.lock().unwrap();
        let now = Instant::now();
        let token = match &*row {
            Some(held) if held.until > now && held.holder != holder => {
                return Ok(Lease { ours: false, token: held.token, note: held.note.clone() });
            }
            Some(held) if held.until > now => held.token,
            held => held.as_ref().map_or(0, |held| held.token) + 1,
        };
        *row = Some(Row { holder, token, until: now + lasting, note: note.to_owned() });
        Ok(Lease { ours: true, token, note: note.to_owned() })
    }

    async fn give_back(&self, _: &str, token: u64) -> Result<bool, HistoryError> {
        let mut row = self.row.lock().unwrap();
        let held = row.as_mut().filter(|held| held.token == token);
        Ok(held.map(|held| held.until = Instant::now()).is_some())
    }
}

struct Server {
    way: Arc<Way>,
    upstream_health: UpstreamHealth,
    leadership: Leadership,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    fn start(row: &Shared) -> Self {
        let way = Arc::new(Way { row: Arc::clone(row), ..Way::default() });
        let (upstream_health, stop) = (UpstreamHealth::default(), CancellationToken::new());
        let (keeper, leadership) = keeper(way.clone(), CONFIG, upstream_health.clone());
        let task = tokio::spawn(keeper.run(stop.clone()));
        Self { way, upstream_health, leadership, stop, task }
    }

    /// As a `kill -9`.
    fn kill(&self) {
        self.task.abort();
    }

    fn role(&self) -> Role {
        self.leadership.standing().role
    }

    async fn leads(&self) {
        let mut standing = self.leadership.standing.subscribe();
        standing.wait_for(|standing| matches!(standing.role, Role::Leading(_))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_several_leads_and_a_killed_one_is_followed_when_its_time_is_over() {
    let row = Shared::default();
    let first = Server::start(&row);
    first.leads().await;
    let others = [Server::start(&row), Server::start(&row)];
    sleep(CONFIG.lasting * 3).await;
    assert_eq!(first.role(), Role::Leading(Some(1)), "it goes on as long as it lives");
    assert!(others.iter().all(|other| other.role() == Role::Following));
    first.kill();
    let killed = Instant::now();
    futures::future::select(Box::pin(others[0].leads()), Box::pin(others[1].leads())).await;
    assert!(killed.elapsed() + CONFIG.interval() >= CONFIG.lasting, "before the lease was over");
    assert!(killed.elapsed() <= CONFIG.lasting + CONFIG.interval(), "{:?}", killed.elapsed());
    sleep(CONFIG.lasting).await;
    let roles = others.each_ref().map(Server::role);
    assert!(roles.contains(&Role::Leading(Some(2))) && roles.contains(&Role::Following), "{roles:?}");
}

#[tokio::test(start_paused = true)]
async fn a_planned_stop_passes_it_on_at_the_next_attempt() {
    let row = Shared::default();
    let first = Server::start(&row);
    first.leads().await;
    let second = Server::start(&row);
    sleep(CONFIG.lasting).await;
    first.stop.cancel();
    let stopped = Instant::now();
    second.leads().await;
    assert!(stopped.elapsed() <= CONFIG.interval());
    assert_eq!(first.role(), Role::Following);
}

/// Counts how many run at a time.
async fn work(running: Arc<AtomicUsize>, runs: Arc<AtomicUsize>, stop: CancellationToken) {
    runs.fetch_add(1, Ordering::SeqCst);
    running.fetch_add(1, Ordering::SeqCst);
    stop.cancelled().await;
    running.fetch_sub(1, Ordering::SeqCst);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_prolong_ends_its_work_before_another_can_begin() {
    for hangs in [false, true] {
        let row = Shared::default();
        let servers = [Server::start(&row), Server::start(&row)];
        let (running, runs) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let stop = CancellationToken::new();
        for server in &servers {
            let (leadership, stop) = (server.leadership.clone(), stop.clone());
            let (running, runs) = (Arc::clone(&running), Arc::clone(&runs));
            tokio::spawn(async move {
                leadership.while_leading(stop, |stop| work(Arc::clone(&running), Arc::clone(&runs), stop)).await;
            });
        }
        sleep(CONFIG.lasting).await;
        assert_eq!(running.load(Ordering::SeqCst), 1);
        let holder = servers.iter().find(|server| server.role() != Role::Following).unwrap();
        holder.way.away.store(!hangs, Ordering::SeqCst);
        holder.way.hangs.store(hangs, Ordering::SeqCst);
        let until = row.lock().unwrap().as_ref().unwrap().until;
        sleep_until(until - Duration::from_millis(1)).await;
        assert_eq!(running.load(Ordering::SeqCst), 0, "it still works when another one may take the lease");
        assert_eq!(holder.role(), Role::Unknown);
        assert_eq!(holder.leadership.standing().error.is_some(), !hangs);
        sleep(CONFIG.lasting).await;
        assert_eq!((running.load(Ordering::SeqCst), runs.load(Ordering::SeqCst)), (1, 2), "the other one goes on");
        holder.way.away.store(false, Ordering::SeqCst);
        holder.way.hangs.store(false, Ordering::SeqCst);
        sleep(CONFIG.lasting).await;
        assert_eq!((holder.role(), running.load(Ordering::SeqCst)), (Role::Following, 1));
        stop.cancel();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(running.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_end_with_the_lease_is_broken_off() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let server = Server::start(&Shared::default());
    let (leadership, dropped) = (server.leadership.clone(), Arc::new(AtomicBool::new(false)));
    let guard = Arc::clone(&dropped);
    tokio::spawn(async move {
        let deaf = |_| {
            let guard = Dropped(Arc::clone(&guard));
            async move {
                std::future::pending::<()>().await;
                drop(guard);
            }
        };
        leadership.while_leading(CancellationToken::new(), deaf).await;
    });
    server.leads().await;
    sleep(CONFIG.lasting).await;
    server.way.away.store(true, Ordering::SeqCst);
    sleep(CONFIG.lasting).await;
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn what_had_better_be_done_by_each_than_by_none_goes_on_while_nobody_can_lead() {
    let row = Shared::default();
    let servers = [Server::start(&row), Server::start(&row)];
    let (running, runs) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    for server in &servers {
        let (leadership, running, runs) = (server.leadership.clone(), Arc::clone(&running), Arc::clone(&runs));
        tokio::spawn(async move {
            let stop = CancellationToken::new();
            leadership.unless_following(stop, |stop| work(Arc::clone(&running), Arc::clone(&runs), stop)).await;
        });
    }
    sleep(CONFIG.lasting).await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
    for server in &servers {
        server.way.away.store(true, Ordering::SeqCst);
    }
    sleep(CONFIG.lasting * 2).await;
    assert_eq!(running.load(Ordering::SeqCst), 2);
    for server in &servers {
        server.way.away.store(false, Ordering::SeqCst);
    }
    sleep(CONFIG.lasting).await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn followers_know_what_the_leader_knows_of_its_sources() {
    let row = Shared::default();
    let leader = Server::start(&row);
    leader.leads().await;
    let follower = Server::start(&row);
    leader.upstream_health.record_success(Service::City, Utc::now());
    leader.upstream_health.record_failure(Service::Dao, "no answer");
    sleep(CONFIG.interval() * 3).await;
    let now = Utc::now();
    assert_eq!(follower.upstream_health.health(now), leader.upstream_health.health(now));
    // and keep it when they lead themselves
    leader.kill();
    follower.leads().await;
    assert_eq!(follower.upstream_health.status(Service::City), SourceStatus::Ok);
    assert_eq!(follower.upstream_health.status(Service::Dao), SourceStatus::Down);
}

#[tokio::test]
async fn who_is_alone_leads_from_the_beginning_to_the_end() {
    let (leadership, stop) = (Leadership::alone(), CancellationToken::new());
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
