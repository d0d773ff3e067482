//! Leases, in both databases.

use std::sync::Arc;
use std::time::Duration;

use living_map::history::leases::{Lease, Leases};
use living_map::history::{self, HistoryConfig};
use uuid::Uuid;

use super::{Private, postgres, sqlite};
use crate::support::wait::until;

on_both!(
    a_lease_is_held_by_one_until_its_time_is_over,
    a_lease_that_is_given_back_is_free_at_once,
    of_many_who_want_it_one_gets_it,
    leases_of_other_names_are_others,
);

/// Longer than any test.
const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(200);

/// A server's own connections to the database.
async fn leases(private: &Private) -> Arc<dyn Leases> {
    history::open(&private.url, &HistoryConfig::default()).await.unwrap().leases
}

fn lease(ours: bool, token: u64, note: &str) -> Lease {
    Lease { ours, token, note: note.into() }
}

async fn a_lease_is_held_by_one_until_its_time_is_over(private: Private) {
    let (a, b) = (leases(&private).await, leases(&private).await);
    let [first, second] = [Uuid::new_v4(), Uuid::new_v4()];
    assert_eq!(a.hold("x", first, LONG, "one").await.unwrap(), lease(true, 1, "one"));
    assert_eq!(b.hold("x", second, LONG, "two").await.unwrap(), lease(false, 1, "one"));
    assert_eq!(a.hold("x", first, SHORT, "three").await.unwrap(), lease(true, 1, "three"), "prolonged");
    let taken = until("the lease's end", async || {
        let held = b.hold("x", second, LONG, "four").await.unwrap();
        if !held.ours {
            assert_eq!(held, lease(false, 1, "three"));
        }
        held.ours.then_some(held)
    })
    .await;
    assert_eq!(taken, lease(true, 2, "four"));
    assert_eq!(a.hold("x", first, LONG, "five").await.unwrap(), lease(false, 2, "four"), "the former holder");
    assert!(!a.give_back("x", 1).await.unwrap(), "what was lost cannot be given back");
    assert_eq!(b.hold("x", second, SHORT, "six").await.unwrap(), lease(true, 2, "six"));
    // one that was too late and takes it again is told so
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(b.hold("x", second, LONG, "seven").await.unwrap(), lease(true, 3, "seven"));
}

async fn a_lease_that_is_given_back_is_free_at_once(private: Private) {
    let (a, b) = (leases(&private).await, leases(&private).await);
    let [first, second] = [Uuid::new_v4(), Uuid::new_v4()];
    a.hold("x", first, LONG, "").await.unwrap();
    assert!(a.give_back("x", 1).await.unwrap());
    assert!(!a.give_back("x", 1).await.unwrap());
    assert_eq!(b.hold("x", second, LONG, "").await.unwrap(), lease(true, 2, ""));
}

async fn of_many_who_want_it_one_gets_it(private: Private) {
    let (a, b) = (leases(&private).await, leases(&private).await);
    for round in 1..=5 {
        let asking = (0..16).map(|number| {
            let leases = Arc::clone(if number % 2 == 0 { &a } else { &b });
            tokio::spawn(async move { leases.hold("x", Uuid::new_v4(), LONG, "").await.unwrap() })
        });
        let answers = futures::future::join_all(asking).await;
        assert_eq!(answers.iter().filter(|held| held.as_ref().unwrap().ours).count(), 1);
        assert!(answers.iter().all(|held| held.as_ref().unwrap().token == round));
        assert!(a.give_back("x", round).await.unwrap());
    }
}

async fn leases_of_other_names_are_others(private: Private) {
    let leases = leases(&private).await;
    assert!(leases.hold("x", Uuid::new_v4(), LONG, "").await.unwrap().ours);
    assert_eq!(leases.hold("y", Uuid::new_v4(), LONG, "").await.unwrap(), lease(true, 1, ""));
    assert!(!leases.give_back("z", 1).await.unwrap());
}
