use std::time::Duration;

use futures::FutureExt;

use super::*;

const MIB: usize = 1024 * 1024;

fn budget(max_bytes: usize) -> ResponseBudget {
    ResponseBudget::new(max_bytes, QueueConfig { wait: Duration::from_hours(1), ..QueueConfig::default() })
}

fn client(name: &str) -> Client {
    Client::Token(name.into())
}

/// A permit that is granted at once.
fn reserve(budget: &ResponseBudget, name: &str, bytes: usize) -> Option<Permit> {
    budget.reserve(&client(name), bytes).now_or_never().map(Result::unwrap)
}

fn used(budget: &ResponseBudget) -> usize {
    budget.lock().ledger.used()
}

#[tokio::test]
async fn a_client_holds_at_most_as_much_as_it_leaves_free() {
    let budget = budget(100 * MIB);
    let held: Vec<_> = std::iter::from_fn(|| reserve(&budget, "greedy", 10 * MIB)).collect();
    assert_eq!(held.len(), 5);
    let second: Vec<_> = std::iter::from_fn(|| reserve(&budget, "second", 10 * MIB)).collect();
    assert_eq!(second.len(), 2);
    // however many there are, the next one finds room for its first answer
    assert!(reserve(&budget, "third", 10 * MIB).is_some());
    drop((held, second));
    assert_eq!(used(&budget), 0);
    assert!(budget.lock().ledger.held(&client("greedy")) == 0);
}

#[tokio::test]
async fn an_answer_above_the_limit_needs_half_of_it() {
    let budget = budget(100 * MIB);
    let whole = reserve(&budget, "a", 300 * MIB).unwrap();
    assert!(reserve(&budget, "b", 10 * MIB).is_none());
    drop(whole);
    let _small = reserve(&budget, "b", 40 * MIB).unwrap();
    assert!(reserve(&budget, "a", 300 * MIB).is_some());
    let _more = reserve(&budget, "c", 40 * MIB).unwrap();
    assert!(reserve(&budget, "a", 300 * MIB).is_none());
}

#[tokio::test]
async fn shared_parts_count_once_in_all_and_once_for_a_client() {
    let budget = budget(100 * MIB);
    let parts: Arc<[Bytes]> = [Bytes::from(vec![1; 2 * MIB]), Bytes::from(vec![2; 3 * MIB])].into();
    let share = |name: &str| budget.share(&client(name), &parts).now_or_never().unwrap().unwrap();
    let mut bodies: Vec<Vec<Bytes>> =
        (0..50).map(|index| share(if index < 25 { "a" } else { "b" }).into_parts()).collect();
    assert_eq!(used(&budget), 5 * MIB);
    assert_eq!(budget.lock().ledger.held(&client("a")), 5 * MIB);
    assert_eq!(bodies[0][1].as_ptr(), parts[1].as_ptr(), "a copy");
    // another generation of the snapshot shares the second part
    let next: Arc<[Bytes]> = [Bytes::from(vec![3; 4 * MIB]), parts[1].clone()].into();
    let next = budget.share(&client("a"), &next).now_or_never().unwrap().unwrap();
    assert_eq!(used(&budget), 9 * MIB);
    drop(next);
    bodies.truncate(25);
    assert_eq!((used(&budget), budget.lock().ledger.held(&client("b"))), (5 * MIB, 0));
    // written parts of all responses are released
    for body in &mut bodies {
        body.remove(0);
    }
    assert_eq!(used(&budget), 3 * MIB);
    bodies.clear();
    assert_eq!(used(&budget), 0);
    assert!(budget.lock().ledger.held(&client("a")) == 0);
}

#[tokio::test]
async fn old_snapshots_that_a_client_does_not_read_are_bounded() {
    let budget = budget(100 * MIB);
    let mut unread = Vec::new();
    loop {
        let snapshot: Arc<[Bytes]> = [Bytes::from(vec![0; 10 * MIB])].into();
        let Some(permit) = budget.share(&client("slow"), &snapshot).now_or_never() else { break };
        unread.push(permit.unwrap().into_parts());
    }
    assert_eq!(unread.len(), 5);
    let newest: Arc<[Bytes]> = [Bytes::from(vec![0; 10 * MIB])].into();
    assert!(budget.share(&client("other"), &newest).now_or_never().is_some());
}

#[tokio::test]
async fn written_pieces_are_released_while_the_rest_is_in_flight() {
    let budget = budget(100 * MIB);
    let mut permit = reserve(&budget, "a", 32 * MIB).unwrap().resize(3 * MIB).unwrap();
    assert_eq!(used(&budget), 3 * MIB);
    let pieces: Vec<Bytes> = (0..3).map(|_| permit.attach(Bytes::from(vec![0; MIB]))).collect();
    drop(permit);
    assert_eq!(used(&budget), 3 * MIB, "the pieces wait for the socket");
    for (left, piece) in (0..3).rev().zip(pieces) {
        let half = piece.slice(..10);
        drop(piece);
        assert_eq!(used(&budget), (left + 1) * MIB);
        drop(half);
        assert_eq!(used(&budget), left * MIB);
    }
}

#[tokio::test]
async fn a_reservation_shrinks_without_room_and_grows_with_room() {
    let budget = budget(100 * MIB);
    let _others = reserve(&budget, "b", 50 * MIB).unwrap();
    let reserved = reserve(&budget, "a", 20 * MIB).unwrap();
    let _small = reserve(&budget, "c", 30 * MIB).unwrap();
    assert_eq!(used(&budget), 100 * MIB);
    let shrunk = reserved.resize(10 * MIB).unwrap();
    let grown = shrunk.resize(20 * MIB).unwrap();
    assert_eq!(grown.resize(21 * MIB).unwrap_err(), NoRoom);
    assert_eq!(used(&budget), 80 * MIB);
}

#[tokio::test]
async fn the_waiting_client_that_holds_least_is_served_first() {
    let budget = budget(100 * MIB);
    let first = reserve(&budget, "greedy", 50 * MIB).unwrap();
    let other = reserve(&budget, "other", 40 * MIB).unwrap();
    let (greedy, new) = (client("greedy"), client("new"));
    let mut greedy = Box::pin(budget.reserve(&greedy, 10 * MIB));
    assert!((&mut greedy).now_or_never().is_none());
    let mut new = Box::pin(budget.reserve(&new, 20 * MIB));
    assert!((&mut new).now_or_never().is_none());
    // what is small does not wait behind what is large, and a client without bytes not behind one with many
    assert!(reserve(&budget, "small", 20 * 1024).is_some());
    drop(other);
    let new = new.now_or_never().expect("served first").unwrap();
    assert!((&mut greedy).now_or_never().is_none());
    drop((first, new));
    assert!(greedy.now_or_never().unwrap().is_ok());
}

#[tokio::test]
async fn a_cancelled_wait_leaves_nothing_and_frees_the_next() {
    let budget = budget(100 * MIB);
    let held = reserve(&budget, "a", 60 * MIB).unwrap();
    let (large, small) = (client("b"), client("c"));
    let mut large = Box::pin(budget.reserve(&large, 45 * MIB));
    assert!((&mut large).now_or_never().is_none());
    let mut small = Box::pin(budget.reserve(&small, 30 * MIB));
    assert!((&mut small).now_or_never().is_none());
    drop(large);
    let small = small.now_or_never().unwrap().unwrap();
    // granted, and cancelled before it is taken
    let cancelled = client("d");
    let mut granted = Box::pin(budget.reserve(&cancelled, 40 * MIB));
    assert!((&mut granted).now_or_never().is_none());
    drop(small);
    drop(granted);
    drop(held);
    assert_eq!((used(&budget), budget.lock().queue.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_an_error_and_is_bounded() {
    let config = QueueConfig { clients: 3, per_client: 2, ..QueueConfig::default() };
    let budget = ResponseBudget::new(MIB, config);
    let held = reserve(&budget, "a", MIB).unwrap();
    let clients = ["b", "b", "b", "c", "c"].map(client);
    let results = futures::future::join_all(clients.iter().map(|client| async {
        let started = tokio::time::Instant::now();
        (budget.reserve(client, MIB).await.is_ok(), started.elapsed() >= config.wait)
    }));
    assert_eq!(results.await, [(false, true), (false, true), (false, false), (false, true), (false, false)]);
    assert_eq!(budget.lock().queue.len(), 0);
    drop(held);
    assert_eq!(used(&budget), 0);
}
