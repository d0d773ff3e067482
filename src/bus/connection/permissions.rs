//! Permissions that a server denied. It reports them apart from the requests that they concern, which it never answers; the
//! requests are ended with this report.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::bus::subjects::covers;

/// Time for which a report counts in [`Permissions::denied`]. Operations that are repeated are reported again meanwhile.
const REPORT_AGE: Duration = Duration::from_mins(1);

/// Number of reports that are kept.
const MAX_REPORTS: usize = 64;

/// Beginning of the server's report.
const VIOLATION: &str = "Permissions Violation for ";

/// Prefix of subjects on which deliveries are acknowledged; stream and consumer follow.
const ACK: &str = "$JS.ACK.";

/// An action that needs a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publishing.
    Publish,
    /// Subscribing.
    Subscribe,
}

/// A permission that the account of this process lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the NATS account lacks a permission: {} \"{subject}\"{}", match .action {
    Action::Publish => "publish to",
    Action::Subscribe => "subscribe to",
}, if *.is_inbox { "; NATS_INBOX_PREFIX selects other subjects for answers" } else { "" })]
pub struct PermissionError {
    /// The denied action.
    pub action: Action,
    /// The subject that a permission must cover: of an inbox or an acknowledgement, whose subjects have random parts, the
    /// pattern.
    pub subject: String,
    /// True for the inbox, without which no request is answered.
    is_inbox: bool,
}

impl PermissionError {
    /// Reads the report of a server; `None` for another error.
    pub fn parse(report: &str, inbox: &str) -> Option<Self> {
        let (_, rest) = report.split_once(VIOLATION)?;
        let action = if rest.starts_with("Publish") { Action::Publish } else { Action::Subscribe };
        let subject = general(rest.split('"').nth(1)?, inbox);
        let is_inbox = action == Action::Subscribe && subject.strip_suffix(".>") == Some(inbox);
        Some(Self { action, subject, is_inbox })
    }
}

/// The subject with `>` in place of its random parts.
fn general(subject: &str, inbox: &str) -> String {
    if subject.strip_prefix(inbox).is_some_and(|rest| rest.starts_with('.')) {
        return format!("{inbox}.>");
    }
    if let Some(rest) = subject.strip_prefix(ACK) {
        let mut tokens = rest.split('.');
        if let (Some(stream), Some(consumer)) = (tokens.next(), tokens.next()) {
            return format!("{ACK}{stream}.{consumer}.>");
        }
    }
    subject.to_owned()
}

/// The permissions that were denied on the current connection. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    reports: watch::Sender<Reports>,
}

#[derive(Debug, Default)]
struct Reports {
    /// Reports so far, repeated ones included.
    number: u64,
    recent: VecDeque<Report>,
}

#[derive(Debug)]
struct Report {
    error: PermissionError,
    number: u64,
    at: Instant,
}

impl Report {
    /// Returns true if the report concerns a request with one of these subjects.
    fn concerns(&self, subjects: &[String]) -> bool {
        self.error.is_inbox || subjects.iter().any(|subject| covers(subject, &self.error.subject))
    }

    /// Whether it is still valid. A subscription is requested once for each connection, everything else repeatedly.
    fn is_current(&self) -> bool {
        self.error.action == Action::Subscribe || self.at.elapsed() < REPORT_AGE
    }
}

impl Permissions {
    /// Records a report. Returns false if it was known.
    pub fn report(&self, error: PermissionError) -> bool {
        let mut new = true;
        self.reports.send_modify(|reports| {
            reports.number += 1;
            let known = reports.recent.iter().position(|known| known.error == error);
            if let Some(known) = known.and_then(|known| reports.recent.remove(known)) {
                new = !known.is_current();
            }
            if reports.recent.len() == MAX_REPORTS {
                reports.recent.pop_front();
            }
            reports.recent.push_back(Report { error, number: reports.number, at: Instant::now() });
        });
        new
    }

    /// Forgets all reports, at a new connection.
    pub fn clear(&self) {
        self.reports.send_modify(|reports| reports.recent.clear());
    }

    /// The last report about one of these subjects (patterns), or about an inbox.
    pub fn denied(&self, subjects: &[String]) -> Option<PermissionError> {
        let reports = self.reports.borrow();
        let mut recent = reports.recent.iter().rev();
        recent.find(|report| report.is_current() && report.concerns(subjects)).map(|report| report.error.clone())
    }

    /// All permissions that were denied lately.
    pub fn all_denied(&self) -> Vec<PermissionError> {
        let reports = self.reports.borrow();
        reports.recent.iter().filter(|report| report.is_current()).map(|report| report.error.clone()).collect()
    }

    /// A guard for requests that are sent from now on.
    pub fn guard(&self) -> PermissionGuard {
        let reports = self.reports.subscribe();
        let after = reports.borrow().number;
        PermissionGuard { reports, after }
    }
}

/// Ends requests whose permission is denied. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PermissionGuard {
    reports: watch::Receiver<Reports>,
    /// Number of the last report before the requests.
    after: u64,
}

impl PermissionGuard {
    /// Runs `request`, which publishes to `subjects` (patterns) and waits for answers.
    ///
    /// # Errors
    /// The server denied one of the subjects, or the inbox for the answers.
    pub async fn run<T>(&self, subjects: &[String], request: impl Future<Output = T>) -> Result<T, PermissionError> {
        let mut reports = self.reports.clone();
        let denied = async {
            loop {
                let found = reports.borrow_and_update().recent.iter().find_map(|report| {
                    let relevant = report.number > self.after || report.error.is_inbox;
                    (relevant && report.concerns(subjects)).then(|| report.error.clone())
                });
                if let Some(error) = found {
                    return error;
                }
                if reports.changed().await.is_err() {
                    // the connection was closed, and nothing is reported any more
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            biased;
            done = request => Ok(done),
            error = denied => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(text: &str) -> PermissionError {
        PermissionError::parse(&format!("nats: Permissions Violation for {text}"), "_INBOX").unwrap()
    }

    #[test]
    fn a_report_names_action_and_subject() {
        let cases = [
            ("Publish to \"a.b\"", "publish to \"a.b\""),
            ("Publish to \"$JS.ACK.S.durable.1.2.3.4.5\"", "publish to \"$JS.ACK.S.durable.>\""),
            (
                "Subscription to \"_INBOX.x7.*\"",
                "subscribe to \"_INBOX.>\"; NATS_INBOX_PREFIX selects other subjects for answers",
            ),
            ("Subscription to \"jobs\" using queue \"workers\"", "subscribe to \"jobs\""),
            ("Subscription to \"_INBOXES.x\"", "subscribe to \"_INBOXES.x\""),
        ];
        assert!(violation("Subscription to \"_INBOX.x.*\"").is_inbox && !violation("Publish to \"_INBOX.x\"").is_inbox);
        for (report, expected) in cases {
            assert!(violation(report).to_string().ends_with(expected), "{report}");
        }
        assert_eq!(PermissionError::parse("authorization violation", "_INBOX"), None);
    }

    #[tokio::test]
    async fn a_denied_request_ends_and_others_go_on() {
        let permissions = Permissions::default();
        let subjects = |subject: &str| vec![subject.to_owned()];
        assert!(permissions.report(violation("Publish to \"a.b\"")));
        let guard = permissions.guard();
        assert_eq!(guard.run(&subjects("a.>"), std::future::ready(1)).await, Ok(1), "an earlier report");
        let wanted = subjects("a.>");
        let waiting = guard.run(&wanted, std::future::pending::<()>());
        let reporting = async {
            tokio::task::yield_now().await;
            permissions.report(violation("Publish to \"other\""));
            assert!(!permissions.report(violation("Publish to \"a.b\"")), "it is known");
        };
        let (ended, ()) = tokio::join!(waiting, reporting);
        assert_eq!(ended, Err(violation("Publish to \"a.b\"")));
        assert_eq!(permissions.denied(&subjects("a.c")), None);
    }

    #[tokio::test]
    async fn without_an_inbox_every_request_ends_until_the_next_connection() {
        let permissions = Permissions::default();
        permissions.report(violation("Subscription to \"_INBOX.x.*\""));
        let request = permissions.guard();
        assert!(request.run(&[], std::future::pending::<()>()).await.is_err());
        permissions.clear();
        assert_eq!((permissions.denied(&[]), permissions.all_denied()), (None, Vec::new()));
    }
}
