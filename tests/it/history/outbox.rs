//! Outbox store, in both databases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use living_map::history::outbox::{ClaimedMessage, Outbox, OutboxMessage};
use living_map::history::{self, HistoryConfig};
use living_map::model::Cursor;
use uuid::Uuid;

use super::{EPOCH, Private, pooled, postgres, sqlite};
use crate::support::wait::until;

on_both!(
    messages_and_checkpoint_commit_together_or_not_at_all,
    a_message_has_one_claim_until_it_expires,
    messages_about_one_alert_are_sent_in_order,
    failed_messages_wait_and_finished_ones_are_deleted,
);

const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(300);

async fn outbox(private: &Private) -> Arc<dyn Outbox> {
    history::open(&private.url, &HistoryConfig { pooler: private.pooler, ..HistoryConfig::default() })
        .await
        .unwrap()
        .outbox
}

fn at(seq: u64) -> Cursor {
    Cursor { epoch: EPOCH, seq }
}

fn message(destination: &str, alert_id: &str) -> OutboxMessage {
    let (id, body) = (Uuid::new_v4(), r#"{"title":"спекотно"}"#.to_owned());
    OutboxMessage { id, destination: destination.into(), alert_id: alert_id.into(), body }
}

async fn waiting(outbox: &Arc<dyn Outbox>) -> Vec<(String, u64, Option<String>)> {
    let standing = outbox.backlog().await.unwrap().into_iter();
    standing.map(|standing| (standing.destination, standing.waiting, standing.error)).collect()
}

async fn messages_and_checkpoint_commit_together_or_not_at_all(private: Private) {
    let (a, b) = (outbox(&private).await, outbox(&private).await);
    assert_eq!(a.checkpoint().await.unwrap(), None);
    let first = message("ops", "x");
    assert!(a.advance(0, at(7), "{}", std::slice::from_ref(&first)).await.unwrap());
    assert!(!b.advance(0, at(8), "{}", &[message("ops", "y")]).await.unwrap(), "there is a checkpoint already");
    let checkpoint = b.checkpoint().await.unwrap().unwrap();
    assert_eq!((checkpoint.cursor, checkpoint.state.as_str(), checkpoint.version), (at(7), "{}", 1));
    assert!(checkpoint.age < Duration::from_mins(1), "{:?}", checkpoint.age);
    let two = [first.clone(), message("other", "x")];
    assert!(b.advance(1, at(9), "[1]", &two).await.unwrap());
    assert!(!a.advance(1, at(9), "[2]", &[message("ops", "z")]).await.unwrap(), "it was updated meanwhile");
    let checkpoint = a.checkpoint().await.unwrap().unwrap();
    assert_eq!((checkpoint.cursor, checkpoint.state.as_str(), checkpoint.version), (at(9), "[1]", 2));
    let expected = [("ops".to_owned(), 1, None), ("other".to_owned(), 1, None)];
    assert_eq!(waiting(&a).await, expected, "a message is stored once, and those of failed calls are not");
}

async fn a_message_has_one_claim_until_it_expires(private: Private) {
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
    let ids: BTreeSet<Uuid> = claimed.iter().map(|claimed: &ClaimedMessage| claimed.message.id).collect();
    assert_eq!(ids.len(), claimed.len(), "each is claimed once");
    assert!(boxes[0].claim("other", LONG, 10).await.unwrap().is_empty());
    let again = until("a claim to expire", async || {
        let again = boxes[1].claim("ops", LONG, 40).await.unwrap();
        again.into_iter().find(|claimed| claimed.attempt == 2)
    })
    .await;
    let former = ClaimedMessage { attempt: 1, ..again.clone() };
    assert!(!boxes[0].mark_delivered(&former).await.unwrap(), "an expired claim is rejected");
    assert!(!boxes[0].postpone(&former, LONG, "no").await.unwrap());
    assert!(boxes[0].mark_delivered(&again).await.unwrap());
    assert!(!boxes[0].mark_delivered(&again).await.unwrap());
    let sent = messages.iter().find(|message| message.id == again.message.id);
    assert_eq!(sent, Some(&again.message), "the message is unchanged");
}

async fn messages_about_one_alert_are_sent_in_order(private: Private) {
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
    assert!(outbox.claim("ops", LONG, 10).await.unwrap().is_empty(), "the first one is not due yet");
    assert_eq!(
        outbox.claim("other", LONG, 10).await.unwrap()[0].message.id,
        elsewhere.id,
        "other destinations do not wait for it"
    );
    let again = ClaimedMessage { attempt: first[0].attempt, ..first[0].clone() };
    assert!(outbox.mark_dead(&again, "no").await.unwrap());
    assert_eq!(outbox.claim("ops", LONG, 10).await.unwrap()[0].message.id, cleared.id);
}

async fn failed_messages_wait_and_finished_ones_are_deleted(private: Private) {
    let outbox = outbox(&private).await;
    let messages = ["a", "b", "c"].map(|alert| message("ops", alert));
    let stray = message("gone", "d");
    assert!(outbox.advance(0, at(1), "{}", &[&messages[..], &[stray]].concat()).await.unwrap());
    let claimed = outbox.claim("ops", LONG, 3).await.unwrap();
    assert!(outbox.mark_delivered(&claimed[0]).await.unwrap());
    assert!(outbox.mark_dead(&claimed[1], "never").await.unwrap());
    assert!(outbox.postpone(&claimed[2], SHORT, "not now").await.unwrap());
    let names = ["ops".to_owned()];
    assert_eq!(waiting(&outbox).await, [("gone".into(), 1, None), ("ops".into(), 1, Some("not now".into()))]);
    assert_eq!(outbox.delete_old(LONG, &names, 10).await.unwrap(), 0, "nothing is old enough");
    let again = until("the next attempt to be due", async || outbox.claim("ops", LONG, 3).await.unwrap().pop()).await;
    assert_eq!((again.message.id, again.attempt), (claimed[2].message.id, 2));
    assert_eq!(outbox.delete_old(Duration::ZERO, &names, 2).await.unwrap(), 2);
    assert_eq!(outbox.delete_old(Duration::ZERO, &names, 2).await.unwrap(), 1);
    assert_eq!(
        outbox.delete_old(Duration::ZERO, &names, 2).await.unwrap(),
        0,
        "messages for existing destinations are kept"
    );
    assert_eq!(
        outbox.delete_old(Duration::ZERO, &[], 2).await.unwrap(),
        1,
        "messages for unknown destinations are deleted"
    );
    assert_eq!(waiting(&outbox).await, []);
}
