//! Lease store, in both databases.

use std::sync::Arc;
use std::time::Duration;

use living_map::history::leases::{Lease, Leases};
use living_map::history::{self, HistoryConfig};
use uuid::Uuid;

use super::{Private, pooled, postgres, sqlite};
use crate::support::wait::until;

on_both!(
    a_lease_has_one_holder_until_it_expires,
    a_released_lease_can_be_acquired_at_once,
    of_many_holders_one_acquires_it,
    leases_of_different_names_are_independent,
);

/// Longer than any test.
const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(200);

/// The connections of one replica.
async fn leases(private: &Private) -> Arc<dyn Leases> {
    history::open(&private.url, &HistoryConfig { pooler: private.pooler, ..HistoryConfig::default() })
        .await
        .unwrap()
        .leases
}

fn lease(held: bool, token: u64, note: &str) -> Lease {
    Lease { held, token, note: note.into() }
}

async fn a_lease_has_one_holder_until_it_expires(private: Private) {
    let (a, b) = (leases(&private).await, leases(&private).await);
    let [first, second] = [Uuid::new_v4(), Uuid::new_v4()];
    assert_eq!(a.acquire("x", first, LONG, "one").await.unwrap(), lease(true, 1, "one"));
    assert_eq!(b.acquire("x", second, LONG, "two").await.unwrap(), lease(false, 1, "one"));
    assert_eq!(a.acquire("x", first, SHORT, "three").await.unwrap(), lease(true, 1, "three"), "prolonged");
    let taken = until("the lease's end", async || {
        let held = b.acquire("x", second, LONG, "four").await.unwrap();
        if !held.held {
            assert_eq!(held, lease(false, 1, "three"));
        }
        held.held.then_some(held)
    })
    .await;
    assert_eq!(taken, lease(true, 2, "four"));
    assert_eq!(a.acquire("x", first, LONG, "five").await.unwrap(), lease(false, 2, "four"), "the former holder");
    assert!(!a.release("x", 1).await.unwrap(), "what was lost cannot be given back");
    assert_eq!(b.acquire("x", second, SHORT, "six").await.unwrap(), lease(true, 2, "six"));
    // a holder that acquires an expired lease again gets another token
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(b.acquire("x", second, LONG, "seven").await.unwrap(), lease(true, 3, "seven"));
}

async fn a_released_lease_can_be_acquired_at_once(private: Private) {
    let (a, b) = (leases(&private).await, leases(&private).await);
    let [first, second] = [Uuid::new_v4(), Uuid::new_v4()];
    a.acquire("x", first, LONG, "").await.unwrap();
    assert!(a.release("x", 1).await.unwrap());
    assert!(!a.release("x", 1).await.unwrap());
    assert_eq!(b.acquire("x", second, LONG, "").await.unwrap(), lease(true, 2, ""));
}

async fn of_many_holders_one_acquires_it(private: Private) {
    let (a, b) = (leases(&private).await, leases(&private).await);
    for round in 1..=5 {
        let asking = (0..16).map(|number| {
            let leases = Arc::clone(if number % 2 == 0 { &a } else { &b });
            tokio::spawn(async move { leases.acquire("x", Uuid::new_v4(), LONG, "").await.unwrap() })
        });
        let answers = futures::future::join_all(asking).await;
        assert_eq!(answers.iter().filter(|held| held.as_ref().unwrap().held).count(), 1);
        assert!(answers.iter().all(|held| held.as_ref().unwrap().token == round));
        assert!(a.release("x", round).await.unwrap());
    }
}

async fn leases_of_different_names_are_independent(private: Private) {
    let leases = leases(&private).await;
    assert!(leases.acquire("x", Uuid::new_v4(), LONG, "").await.unwrap().held);
    assert_eq!(leases.acquire("y", Uuid::new_v4(), LONG, "").await.unwrap(), lease(true, 1, ""));
    assert!(!leases.release("z", 1).await.unwrap());
}
