//! Messages to webhooks, in both databases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use living_map::history::outbox::{Claimed, Outbox, OutboxMessage};
use living_map::history::{self, HistoryConfig};
use living_map::model::Cursor;
use uuid::Uuid;

use super::{EPOCH, Private, postgres, sqlite};
use crate::support::wait::until;

on_both!(
    messages_and_the_place_come_together_and_of_two_who_decide_one_is_too_late,
    a_message_is_claimed_by_one_until_its_claim_is_over,
    what_is_about_one_alert_goes_in_order,
    what_failed_waits_and_what_is_over_is_deleted,
);

const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(300);

async fn outbox(private: &Private) -> Arc<dyn Outbox> {
    history::open(&private.url, &HistoryConfig::default()).await.unwrap().outbox
}

fn at(seq: u64) -> Cursor {
    Cursor { epoch: EPOCH, seq }
}

fn message(destination: &str, alert_id: &str) -> OutboxMessage {
    let (id, body) = (Uuid::new_v4(), r#"{"title":"спекотно"}"#.to_owned());
    OutboxMessage { id, destination: destination.into(), alert_id: alert_id.into(), body }
}

async fn waiting(outbox: &Arc<dyn Outbox>) -> Vec<(String, u64, Option<String>)> {
    let standing = outbox.standing().await.unwrap().into_iter();
    standing.map(|standing| (standing.destination, standing.waiting, standing.error)).collect()
}

async fn messages_and_the_place_come_together_and_of_two_who_decide_one_is_too_late(private: Private) {
    let (a, b) = (outbox(&private).await, outbox(&private).await);
    assert_eq!(a.position().await.unwrap(), None);
    let first = message("ops", "x");
    assert!(a.advance(0, at(7), "{}", std::slice::from_ref(&first)).await.unwrap());
    assert!(!b.advance(0, at(8), "{}", &[message("ops", "y")]).await.unwrap(), "there is a place already");
    let place = b.position().await.unwrap().unwrap();
    assert_eq!((place.cursor, place.state.as_str(), place.version), (at(7), "{}", 1));
    assert!(place.age < Duration::from_mins(1), "{:?}", place.age);
    let two = [first.clone(), message("other", "x")];
    assert!(b.advance(1, at(9), "[1]", &two).await.unwrap());
    assert!(!a.advance(1, at(9), "[2]", &[message("ops", "z")]).await.unwrap(), "it was moved meanwhile");
    let place = a.position().await.unwrap().unwrap();
    assert_eq!((place.cursor, place.state.as_str(), place.version), (at(9), "[1]", 2));
    let expected = [("ops".to_owned(), 1, None), ("other".to_owned(), 1, None)];
    assert_eq!(waiting(&a).await, expected, "a message is there once, and none of those who were too late");
}

async fn a_message_is_claimed_by_one_until_its_claim_is_over(private: Private) {
    let boxes = [outbox(&private).await, outbox(&private).await];
    let messages: Vec<_> = (0..40).map(|number| message("ops", &number.to_string())).collect();
    assert!(boxes[0].advance(0, at(1), "{}", &messages).await.unwrap());
    let claim = |outbox: &Arc<dyn Outbox>| {
        let outbox = Arc::clone(outbox);
        tokio::spawn(async move { outbox.claim("ops", SHORT, 7).await.unwrap() })
    };
    let claims: Vec<_> = (0..8).map(|number| claim(&boxes[number % 2])).collect();
    let mut claimed = Vec::new();
    for claims in claims {
        claimed.extend(claims.await.unwrap());
    }
    let ids: BTreeSet<Uuid> = claimed.iter().map(|claimed: &Claimed| claimed.message.id).collect();
    assert_eq!(ids.len(), claimed.len(), "each is one's");
    assert!(boxes[0].claim("other", LONG, 10).await.unwrap().is_empty());
    let again = until("a claim's end", async || {
        let again = boxes[1].claim("ops", LONG, 40).await.unwrap();
        again.into_iter().find(|claimed| claimed.attempt == 2)
    })
    .await;
    let former = Claimed { attempt: 1, ..again.clone() };
    assert!(!boxes[0].delivered(&former).await.unwrap(), "who was too late says nothing any more");
    assert!(!boxes[0].postpone(&former, LONG, "no").await.unwrap());
    assert!(boxes[0].delivered(&again).await.unwrap());
    assert!(!boxes[0].delivered(&again).await.unwrap());
    let sent = messages.iter().find(|message| message.id == again.message.id);
    assert_eq!(sent, Some(&again.message), "it is as it was");
}

async fn what_is_about_one_alert_goes_in_order(private: Private) {
    let outbox = outbox(&private).await;
    let (raised, cleared, other) = (message("ops", "x"), message("ops", "x"), message("ops", "y"));
    let elsewhere = message("other", "x");
    let all = [raised.clone(), cleared.clone(), other.clone(), elsewhere.clone()];
    assert!(outbox.advance(0, at(1), "{}", &all).await.unwrap());
    let mut first = outbox.claim("ops", LONG, 10).await.unwrap();
    first.sort_by_key(|claimed| claimed.message.alert_id.clone());
    assert_eq!(first.iter().map(|claimed| claimed.message.id).collect::<Vec<_>>(), [raised.id, other.id]);
    assert!(outbox.claim("ops", LONG, 10).await.unwrap().is_empty());
    assert!(outbox.postpone(&first[0], LONG, "no").await.unwrap());
    assert!(outbox.claim("ops", LONG, 10).await.unwrap().is_empty(), "the first one is not there yet");
    assert_eq!(outbox.claim("other", LONG, 10).await.unwrap()[0].message.id, elsewhere.id, "others do not wait for it");
    let again = Claimed { attempt: first[0].attempt, ..first[0].clone() };
    assert!(outbox.give_up(&again, "no").await.unwrap());
    assert_eq!(outbox.claim("ops", LONG, 10).await.unwrap()[0].message.id, cleared.id);
}

async fn what_failed_waits_and_what_is_over_is_deleted(private: Private) {
    let outbox = outbox(&private).await;
    let messages = ["a", "b", "c"].map(|alert| message("ops", alert));
    let stray = message("gone", "d");
    assert!(outbox.advance(0, at(1), "{}", &[&messages[..], &[stray]].concat()).await.unwrap());
    let claimed = outbox.claim("ops", LONG, 3).await.unwrap();
    assert!(outbox.delivered(&claimed[0]).await.unwrap());
    assert!(outbox.give_up(&claimed[1], "never").await.unwrap());
    assert!(outbox.postpone(&claimed[2], SHORT, "not now").await.unwrap());
    let names = ["ops".to_owned()];
    assert_eq!(waiting(&outbox).await, [("gone".into(), 1, None), ("ops".into(), 1, Some("not now".into()))]);
    assert_eq!(outbox.tidy(LONG, &names, 10).await.unwrap(), 0, "nothing is old enough");
    let again = until("its time", async || outbox.claim("ops", LONG, 3).await.unwrap().pop()).await;
    assert_eq!((again.message.id, again.attempt), (claimed[2].message.id, 2));
    assert_eq!(outbox.tidy(Duration::ZERO, &names, 2).await.unwrap(), 2);
    assert_eq!(outbox.tidy(Duration::ZERO, &names, 2).await.unwrap(), 1);
    assert_eq!(outbox.tidy(Duration::ZERO, &names, 2).await.unwrap(), 0, "what waits for somebody who is there stays");
    assert_eq!(outbox.tidy(Duration::ZERO, &[], 2).await.unwrap(), 1, "and what waits for nobody does not");
    assert_eq!(waiting(&outbox).await, []);
}
