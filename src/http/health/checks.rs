//! Checks of the readiness response, one type per dependency.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::KeysStatus;
use crate::access::shares::PoolUse;
use crate::alerts::{Destination, RulesStatus};
use crate::bus::{NotSourced, NotSourcedReason};
use crate::history::adopted::{AdoptionPhase, AdoptionStatus};
use crate::history::outbox::OutboxBacklog;
use crate::journal::JournalStatus;
use crate::learner::LearnerStatus;
use crate::lease::{LeadershipStatus, Role};
use crate::log::{BridgeStatus, WriterStatus};
use crate::model::{Compatibility, Cursor, SourceHealth, SourceStatus};

/// Checks of all dependencies.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checks {
    /// Event log.
    pub log: LogCheck,
    /// Subjects that are recorded by subscription, at most once; null without `BRIDGE_SUBJECTS`.
    #[schema(required)]
    pub bridge: Option<BridgeCheck>,
    /// History database.
    pub history: Dependency,
    /// History writer, which copies the log into the history; null if the log is the history table itself.
    #[schema(required)]
    pub writer: Option<WriterCheck>,
    /// Completion of rows that the replaced service wrote; null where its table cannot have been adopted. The server is ready
    /// before it is complete.
    #[schema(required)]
    pub adopted_rows: Option<AdoptedRowsCheck>,
    /// Map.
    pub map: MapCheck,
    /// Leadership: whether this replica runs the tasks that only one replica runs.
    pub lease: LeaseCheck,
    /// Upstreams.
    pub sources: Vec<SourceHealth>,
    /// Files of the error journal.
    pub journal: JournalCheck,
    /// Learner; null if this server does not learn.
    #[schema(required)]
    pub learner: Option<LearnerCheck>,
    /// Alert rules file; null if none is configured.
    #[schema(required)]
    pub alerts: Option<AlertsCheck>,
    /// Webhooks to which alerts are sent; null if the rules file has none, or the database does not respond.
    #[schema(required)]
    pub webhooks: Option<Vec<WebhookCheck>>,
    /// WebSocket and SSE clients.
    pub stream: StreamCheck,
    /// Keys that verify tokens; null if none are fetched.
    #[schema(required)]
    pub keys: Option<KeysCheck>,
}

impl Checks {
    /// Whether every dependency is available and the data of every upstream is fresh.
    pub fn all_pass(&self) -> bool {
        let down = [
            self.log.error.is_some(),
            self.bridge.as_ref().is_some_and(|bridge| bridge.error.is_some()),
            self.history.error.is_some(),
            self.writer.as_ref().is_some_and(|writer| writer.error.is_some()),
            self.map.following != "current",
            self.lease.role == "unknown",
            self.sources.iter().any(|source| matches!(source.status, SourceStatus::Stale | SourceStatus::Down)),
            self.journal.error.is_some(),
            self.learner.as_ref().is_some_and(LearnerCheck::is_down),
            self.alerts.as_ref().is_some_and(|alerts| alerts.error.is_some()),
            self.webhooks.iter().flatten().any(|webhook| webhook.error.is_some()),
            self.keys.as_ref().is_some_and(|keys| keys.error.is_some()),
        ];
        !down.contains(&true)
    }
}

/// State of the alert rules file.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertsCheck {
    /// `ok`, or `down`: the file is invalid, and the previous rules stay in force.
    status: &'static str,
    /// Number of rules in force.
    rules: usize,
    /// Time at which they were loaded.
    loaded_at: DateTime<Utc>,
    /// Error in the file.
    #[schema(required)]
    error: Option<String>,
}

impl From<&RulesStatus> for AlertsCheck {
    fn from(status: &RulesStatus) -> Self {
        let RulesStatus { rules, loaded_at, error, .. } = status;
        Self { status: status_of(error.as_deref()), rules: rules.len(), loaded_at: *loaded_at, error: error.clone() }
    }
}

/// State of a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookCheck {
    /// Name in the rules file.
    name: String,
    /// `ok`, or `down`: the last attempt to deliver a pending message failed.
    status: &'static str,
    /// Number of pending messages.
    waiting: u64,
    /// Time since which the oldest pending message waits.
    #[schema(required)]
    oldest: Option<DateTime<Utc>>,
    /// Error of the last attempt.
    #[schema(required)]
    error: Option<String>,
}

impl WebhookCheck {
    pub fn new(destination: &Destination, outbox: &[OutboxBacklog]) -> Self {
        let name = destination.name.clone();
        let Some(pending) = outbox.iter().find(|pending| pending.destination == name) else {
            return Self { name, status: "ok", waiting: 0, oldest: None, error: None };
        };
        let (oldest, error) = (Some(pending.oldest), pending.error.clone());
        Self { name, status: status_of(error.as_deref()), waiting: pending.waiting, oldest, error }
    }
}

/// State of the keys that verify tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeysCheck {
    /// `ok` or `down`.
    status: &'static str,
    /// Number of usable keys. They stay in use until new ones can be fetched.
    keys: usize,
    /// Time of the last successful fetch.
    #[schema(required)]
    last_success: Option<DateTime<Utc>>,
    /// Error of the last fetch.
    #[schema(required)]
    error: Option<String>,
}

impl From<KeysStatus> for KeysCheck {
    fn from(KeysStatus { keys, last_success, error }: KeysStatus) -> Self {
        Self { status: status_of(error.as_deref()), keys, last_success, error }
    }
}

/// State of a dependency.
#[derive(Debug, Serialize, ToSchema)]
pub struct Dependency {
    /// `ok` or `down`.
    status: &'static str,
    /// Implementation: `postgres` or `sqlite`.
    kind: &'static str,
    /// Error, if it is down.
    error: Option<String>,
}

impl Dependency {
    pub fn new(kind: &'static str, error: Option<String>) -> Self {
        Self { status: status_of(error.as_deref()), kind, error }
    }
}

/// State of the event log.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogCheck {
    /// `ok` or `down`.
    status: &'static str,
    /// Implementation: `jetstream` or `table`.
    kind: &'static str,
    /// Error, if it is down.
    error: Option<String>,
    /// Limitation of a log that works, such as acknowledged events that a power failure may take.
    #[schema(required)]
    warning: Option<String>,
    /// Streams that have subjects of the log, and from which the log must not take their messages.
    unsourced: Vec<UnsourcedStream>,
}

impl LogCheck {
    pub fn new(kind: &'static str, error: Option<String>, warning: Option<String>, unsourced: Vec<NotSourced>) -> Self {
        let unsourced = unsourced.into_iter().map(UnsourcedStream::from).collect();
        Self { status: status_of(error.as_deref()), kind, error, warning, unsourced }
    }
}

/// A stream from which the log does not take messages. Those of its subjects that `BRIDGE_SUBJECTS` does not have are not
/// recorded.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnsourcedStream {
    /// Name of the stream.
    stream: String,
    /// `work_queue` or `interest`: its retention, by which it would lose messages; `circular`: it takes its messages from the log.
    reason: &'static str,
    /// The log's subjects that it has.
    subjects: Vec<String>,
    /// Setting with which they are recorded nevertheless, at most once; null where that would record nothing.
    #[schema(required)]
    remedy: Option<String>,
}

impl From<NotSourced> for UnsourcedStream {
    fn from(NotSourced { stream, reason, subjects }: NotSourced) -> Self {
        let remedy = (reason != NotSourcedReason::Circular).then(|| format!("BRIDGE_SUBJECTS={}", subjects.join(",")));
        Self { stream, reason: reason.as_str(), subjects, remedy }
    }
}

/// State of the bridge of this replica.
#[derive(Debug, Serialize, ToSchema)]
pub struct BridgeCheck {
    /// `ok`, `waiting` (another replica subscribes), or `down`.
    status: &'static str,
    /// Recorded subjects.
    subjects: Vec<BridgedSubjects>,
    /// Subscriptions of this replica.
    subscriptions: Vec<BridgeSubscription>,
    /// Bytes of messages that wait to be appended to the log.
    buffered_bytes: usize,
    /// Number of messages since the start that were received and not recorded.
    dropped: u64,
    /// Time of the last append.
    #[schema(required)]
    last_success: Option<DateTime<Utc>>,
    /// Error that keeps messages from being received or appended.
    #[schema(required)]
    error: Option<String>,
}

/// Subjects that the bridge records.
#[derive(Debug, Serialize, ToSchema)]
pub struct BridgedSubjects {
    /// Pattern.
    subject: String,
    /// `at_most_once`: what is published while no replica subscribes is not recorded.
    delivery: &'static str,
}

/// A subscription of the bridge.
#[derive(Debug, Serialize, ToSchema)]
pub struct BridgeSubscription {
    /// Pattern.
    subject: String,
    /// Stream that publishes its messages again under these subjects; null for a subscription to the subjects themselves.
    #[schema(required)]
    stream: Option<String>,
}

impl From<BridgeStatus> for BridgeCheck {
    fn from(bridge: BridgeStatus) -> Self {
        let BridgeStatus { subjects, subscriptions, buffered_bytes, dropped, last_success, error } = bridge;
        let status = match &error {
            Some(_) => "down",
            None if subscriptions.is_empty() => "waiting",
            None => "ok",
        };
        let subjects = subjects
            .iter()
            .map(|pattern| BridgedSubjects { subject: pattern.as_str().to_owned(), delivery: "at_most_once" });
        let subscriptions = subscriptions
            .into_iter()
            .map(|one| BridgeSubscription { subject: one.subjects.as_str().to_owned(), stream: one.stream });
        let (subjects, subscriptions) = (subjects.collect(), subscriptions.collect());
        Self { status, subjects, subscriptions, buffered_bytes, dropped, last_success, error }
    }
}

/// State of the history writer.
#[derive(Debug, Serialize, ToSchema)]
pub struct WriterCheck {
    /// `ok` or `down`.
    status: &'static str,
    /// Number of events in the log that are not in the history yet; null if unknown.
    #[schema(required)]
    lag: Option<u64>,
    /// Time of the last commit.
    #[schema(required)]
    last_success: Option<DateTime<Utc>>,
    /// Error, if it cannot write.
    #[schema(required)]
    error: Option<String>,
}

impl From<&WriterStatus> for WriterCheck {
    fn from(writer: &WriterStatus) -> Self {
        let errors = [&writer.database_error, &writer.log_error, &writer.permission_error];
        let error = errors.into_iter().find_map(Clone::clone);
        Self { status: status_of(error.as_deref()), lag: writer.lag, last_success: writer.last_success, error }
    }
}

/// Progress of giving rows of the replaced service the entity that they are about.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdoptedRowsCheck {
    /// `waiting`: this replica has not begun, it does not lead; `running`; `complete`: all rows were examined.
    status: &'static str,
    /// Number of rows examined.
    examined: u64,
    /// Number of rows that were given an entity.
    completed: u64,
    /// Error of the last attempt, which is repeated.
    #[schema(required)]
    error: Option<String>,
}

impl From<&AdoptionStatus> for AdoptedRowsCheck {
    fn from(status: &AdoptionStatus) -> Self {
        let AdoptionStatus { phase, examined, completed, error } = status.clone();
        let status = match phase {
            AdoptionPhase::Waiting => "waiting",
            AdoptionPhase::Running => "running",
            AdoptionPhase::Complete => "complete",
        };
        Self { status, examined, completed, error }
    }
}

/// State of leadership. The leader polls the upstreams, saves the map, and deletes expired data.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeaseCheck {
    /// `leading`: this replica is the leader; `following`: another one is; `unknown`: the database does not respond.
    role: &'static str,
    /// Time of the last change of the role.
    since: DateTime<Utc>,
    /// Fencing token, which grows with each change of leader; null if this replica does not lead, or is the only one.
    #[schema(required)]
    token: Option<u64>,
    /// Error of the last renewal.
    #[schema(required)]
    error: Option<String>,
}

impl From<LeadershipStatus> for LeaseCheck {
    fn from(leadership: LeadershipStatus) -> Self {
        let LeadershipStatus { role, since, error } = leadership;
        let (role, token) = match role {
            Role::Leading(token) => ("leading", token),
            Role::Following => ("following", None),
            Role::Unknown => ("unknown", None),
        };
        Self { role, since, token, error }
    }
}

/// State of the error journal's files.
#[derive(Debug, Serialize, ToSchema)]
pub struct JournalCheck {
    /// `ok` or `down`.
    status: &'static str,
    /// Number of entries not written yet.
    pending: usize,
    /// Number of entries since the start that were dropped because too many were pending.
    dropped: u64,
    /// Time of the last write.
    #[schema(required)]
    last_flush: Option<DateTime<Utc>>,
    /// Error of the object store.
    #[schema(required)]
    error: Option<String>,
}

impl From<JournalStatus> for JournalCheck {
    fn from(journal: JournalStatus) -> Self {
        let JournalStatus { pending, dropped, last_flush, error } = journal;
        Self { status: status_of(error.as_deref()), pending, dropped, last_flush, error }
    }
}

/// State of the learner.
#[derive(Debug, Serialize, ToSchema)]
pub struct LearnerCheck {
    /// `ok`, `down`, or `waiting`: it is rebuilding its windows, or another replica is learning.
    status: &'static str,
    /// Number of experiences in the stream that are not processed yet; null if unknown.
    #[schema(required)]
    lag: Option<u64>,
    /// Number of agents in memory.
    agents: usize,
    /// Time at which it was last up to date.
    #[schema(required)]
    last_success: Option<DateTime<Utc>>,
    /// Error, if it cannot learn.
    #[schema(required)]
    error: Option<String>,
}

impl LearnerCheck {
    /// Whether it cannot learn.
    pub const fn is_down(&self) -> bool {
        self.error.is_some()
    }
}

impl From<&LearnerStatus> for LearnerCheck {
    fn from(learner: &LearnerStatus) -> Self {
        let LearnerStatus { learning, lag, agents, last_success, error, .. } = learner.clone();
        let status = match &error {
            Some(_) => "down",
            None if learning => "ok",
            None => "waiting",
        };
        Self { status, lag, agents, last_success, error }
    }
}

/// State of the map.
#[derive(Debug, Serialize, ToSchema)]
pub struct MapCheck {
    /// `catching_up` (reading the log after the start), `current`, `awaiting_base` (the log has lost entries, and the leader has
    /// not carried the map over yet), or `stale` (the log is unavailable).
    pub following: &'static str,
    /// Error, if it is stale; reason, if it awaits its base.
    pub error: Option<String>,
    /// Position of the last event in the map.
    #[schema(value_type = String)]
    pub cursor: Cursor,
    /// Number of events in the log that are not in the map yet; null if unknown.
    pub lag: Option<u64>,
    /// Number of entities.
    pub entities: usize,
    /// Value of `COMPATIBLE`: the fields and names that the map has. The same on all servers of one log.
    pub compatible: Compatibility,
}

/// Use of a pool that clients share. A client is a token, else an address (IPv6: a /64 network).
#[derive(Debug, Serialize, ToSchema)]
pub struct PoolCheck {
    /// Name, as in the metrics `living_map_pool_*`; `response_bytes` for the bytes of responses in flight.
    pub name: &'static str,
    /// Slots in all; of a pool of memory, bytes.
    pub slots: u64,
    /// Slots in use.
    pub in_use: u64,
    /// Requests that wait for a slot.
    pub waiting: u64,
    /// Clients that hold a slot or wait for one.
    pub clients: u64,
}

impl From<PoolUse> for PoolCheck {
    fn from(pool: PoolUse) -> Self {
        let PoolUse { name, slots, in_use, waiting, clients } = pool;
        Self { name, slots, in_use, waiting: waiting as u64, clients: clients as u64 }
    }
}

/// State of the streams.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamCheck {
    /// Number of connected clients.
    pub clients: usize,
}

fn status_of(error: Option<&str>) -> &'static str {
    if error.is_none() { "ok" } else { "down" }
}
