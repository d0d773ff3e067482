use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;

use super::*;

fn client(number: u8) -> Client {
    Client::Address([192, 0, 2, number].into())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test]
async fn one_clients_queue_does_not_delay_another() {
    let pool = Pool::new("test", 2, QueueConfig::default());
    let held = pool.acquire(client(1), soon()).await.unwrap();
    let mut waiting: Vec<_> = (0..60).map(|_| Box::pin(pool.acquire(client(1), soon()))).collect();
    assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
    let other = pool.acquire(client(2), soon()).now_or_never().expect("the last slot is for others").unwrap();
    let usage = pool.usage();
    assert_eq!((usage.slots, usage.in_use, usage.waiting, usage.clients), (2, 2, 60, 2));
    drop(other);
    assert!(waiting[0].as_mut().now_or_never().is_none(), "the other client's slot is not for the first one");
    drop(held);
    let next = waiting[0].as_mut().now_or_never().expect("its own slot is").unwrap();
    drop((next, waiting));
    assert_eq!((pool.usage().in_use, pool.usage().waiting, pool.usage().clients), (0, 0, 0));
}

#[tokio::test]
async fn a_cancelled_request_leaves_its_queue() {
    let pool = Pool::new("test", 1, QueueConfig::default());
    let held = pool.acquire(client(1), soon()).await.unwrap();
    let mut cancelled = Box::pin(pool.acquire(client(2), soon()));
    let mut next = Box::pin(pool.acquire(client(3), soon()));
    assert!(cancelled.as_mut().now_or_never().is_none() && next.as_mut().now_or_never().is_none());
    drop(cancelled);
    assert_eq!(pool.usage().waiting, 1);
    drop(held);
    assert!(next.now_or_never().is_some());
}

#[tokio::test]
async fn a_slot_given_to_a_cancelled_request_is_passed_on() {
    let pool = Pool::new("test", 1, QueueConfig::default());
    let held = pool.acquire(client(1), soon()).await.unwrap();
    let mut cancelled = Box::pin(pool.acquire(client(2), soon()));
    let mut next = Box::pin(pool.acquire(client(3), soon()));
    assert!(cancelled.as_mut().now_or_never().is_none() && next.as_mut().now_or_never().is_none());
    // the slot is on its way to the second client, which does not poll again
    drop(held);
    assert!(next.as_mut().now_or_never().is_none());
    drop(cancelled);
    assert!(next.now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_its_deadline() {
    let pool = Pool::new("test", 1, QueueConfig::default());
    let _held = pool.acquire(client(1), soon()).await.unwrap();
    let started = Instant::now();
    assert_eq!(pool.acquire(client(2), started + Duration::from_secs(3)).await.err(), Some(Full::Time));
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    assert_eq!(pool.try_acquire(client(2)).err(), Some(Full::Share));
    assert_eq!(pool.usage().waiting, 0);
}

#[tokio::test]
async fn requests_beyond_the_queues_are_rejected() {
    let pool = Pool::new("test", 1, QueueConfig { per_client: 1, clients: 1, ..QueueConfig::default() });
    let _held = pool.acquire(client(1), soon()).await.unwrap();
    let mut waiting = Box::pin(pool.acquire(client(2), soon()));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(pool.acquire(client(2), soon()).await.err(), Some(Full::Queue));
    assert_eq!(pool.acquire(client(3), soon()).await.err(), Some(Full::Clients));
}

#[tokio::test]
async fn a_request_for_more_than_the_largest_gets_the_largest() {
    let pool = Pool::of_bytes("test", 100, 40, QueueConfig::default());
    let held = pool.acquire_many(client(1), 1_000, soon()).await.unwrap();
    assert_eq!(pool.usage().in_use, 40);
    let _more = pool.acquire_many(client(1), 20, soon()).await.unwrap();
    assert!(pool.acquire_many(client(1), 1, soon()).now_or_never().is_none(), "all but 40");
    drop(held);
    assert_eq!(pool.usage().in_use, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_and_cancellations_lose_no_slot() {
    let pool = Pool::new("test", 3, QueueConfig { per_client: 1_000, clients: 1_000, ..QueueConfig::default() });
    let tasks = (0..400_u32).map(|number| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let client = client(u8::try_from(number % 7).unwrap());
            let deadline = Instant::now() + Duration::from_micros(u64::from(number % 5) * 200);
            let limit = if number.is_multiple_of(3) { deadline } else { Instant::now() + Duration::from_mins(1) };
            let slot = tokio::time::timeout_at(deadline.max(limit), pool.acquire(client, limit)).await;
            tokio::task::yield_now().await;
            drop(slot);
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!((pool.usage().in_use, pool.usage().waiting, pool.usage().clients), (0, 0, 0));
}
