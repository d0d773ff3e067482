use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const WIDE: QueueConfig = QueueConfig { per_client: 1_000, clients: 1_000, wait: Duration::ZERO };

/// The clients of the requests that are served, in order, until none can be.
fn serve_all(queues: &mut Queues<char, u32>) -> String {
    std::iter::from_fn(|| queues.serve()).map(|served| served.client).collect()
}

#[test]
fn a_client_holds_at_most_all_but_one() {
    let mut queues = Queues::<char, u32>::new(4, 1, WIDE);
    assert!((0..3).all(|_| queues.take(&'a', 1)));
    assert!(!queues.take(&'a', 1), "the last slot is for others");
    assert!(queues.take(&'b', 1));
    assert!(!queues.take(&'c', 1), "none is free");
    queues.release(&'b', 1);
    assert!(!queues.take(&'a', 1));
    queues.release(&'a', 1);
    assert!(queues.take(&'a', 1));
    assert_eq!(queues.usage(), Usage { in_use: 3, waiting: 0, clients: 1 });
}

#[test]
fn a_client_may_hold_the_slot_of_a_pool_of_one() {
    let mut queues = Queues::<char, u32>::new(1, 1, WIDE);
    assert!(queues.take(&'a', 1));
    assert!(!queues.take(&'b', 1));
    queues.release(&'a', 1);
    assert!(queues.take(&'b', 1));
}

#[test]
fn the_queues_of_clients_are_served_in_turn() {
    let mut queues = Queues::<char, u32>::new(1, 1, WIDE);
    assert!(queues.take(&'a', 1));
    for client in "aaaabbbcc".chars() {
        queues.push(&client, 1, 0).unwrap();
    }
    let mut order = String::new();
    let mut holder = 'a';
    while queues.usage().in_use > 0 {
        queues.release(&holder, 1);
        let served = serve_all(&mut queues);
        holder = served.chars().next().unwrap_or('-');
        order += &served;
    }
    assert_eq!(order, "bcabcabaa");
    assert!(queues.clients.is_empty() && queues.turns.is_empty(), "unused clients are forgotten");
}

#[test]
fn a_client_that_just_arrived_is_next_after_the_running_one() {
    let mut queues = Queues::<char, u32>::new(1, 1, WIDE);
    assert!(queues.take(&'a', 1));
    (0..60).for_each(|number| assert!(queues.push(&'a', 1, number).is_ok()));
    for round in 0..10 {
        queues.push(&'b', 1, round).unwrap();
        queues.release(&'a', 1);
        assert_eq!(serve_all(&mut queues), "b", "round {round}");
        queues.release(&'b', 1);
        assert_eq!(serve_all(&mut queues), "a", "round {round}");
    }
}

#[test]
fn a_large_request_is_not_overtaken_by_small_ones() {
    let mut queues = Queues::<char, u32>::new(100, 40, WIDE);
    assert!(queues.take(&'a', 40));
    assert!(!queues.take(&'a', 21), "a client holds at most 60");
    assert!(queues.take(&'b', 30));
    queues.push(&'c', 40, 0).unwrap();
    queues.push(&'d', 1, 0).unwrap();
    assert_eq!(serve_all(&mut queues), "", "30 are free, and 40 are next");
    assert!(!queues.take(&'e', 1), "nor by one that has just arrived");
    queues.release(&'b', 30);
    assert_eq!(serve_all(&mut queues), "cd");
}

#[test]
fn queues_are_bounded_by_client_and_in_number() {
    let mut queues =
        Queues::<char, u32>::new(1, 1, QueueConfig { per_client: 2, clients: 2, ..QueueConfig::default() });
    assert!(queues.take(&'a', 1));
    let first = queues.push(&'a', 1, 0).unwrap();
    queues.push(&'a', 1, 0).unwrap();
    assert_eq!(queues.push(&'a', 1, 0), Err(QueueFull::Client));
    queues.push(&'b', 1, 0).unwrap();
    assert_eq!(queues.push(&'c', 1, 0), Err(QueueFull::Clients));
    assert!(queues.remove(&'a', first) && !queues.remove(&'a', first));
    assert!(queues.push(&'a', 1, 0).is_ok());
    assert_eq!(queues.usage().waiting, 3);
}

/// Random requests against the rules: bounds, no idle units, order within a client, turns between clients.
#[test]
fn random_requests_are_served_by_the_rules() {
    for round in 0..200 {
        let seed = rand::random();
        println!("round {round}: seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (capacity, largest) = (random.random_range(1..8), random.random_range(1..4));
        RandomRun::new(capacity, largest).run(300, &mut random);
    }
}

struct RandomRun {
    queues: Queues<char, u32>,
    held: Vec<(char, u64)>,
    /// Waiting requests in the order of arrival: client, id, item, units.
    waiting: Vec<(char, u64, u32, u64)>,
    /// For each waiting client: how often others were served since it waits and last used the pool.
    overtaken: HashMap<char, HashMap<char, u32>>,
    next: u32,
}

impl RandomRun {
    fn new(capacity: u64, largest: u64) -> Self {
        let queues = Queues::new(capacity, largest, WIDE);
        Self { queues, held: Vec::new(), waiting: Vec::new(), overtaken: HashMap::new(), next: 0 }
    }

    fn run(mut self, steps: u32, random: &mut StdRng) {
        for _ in 0..steps {
            let client = ['a', 'b', 'c', 'd', 'e'][random.random_range(0..5)];
            match random.random_range(0..8) {
                0..=2 => self.request(client, random.random_range(1..=self.queues.largest())),
                3 if !self.waiting.is_empty() => self.cancel(random.random_range(0..self.waiting.len())),
                _ if !self.held.is_empty() => self.release(random.random_range(0..self.held.len())),
                _ => {}
            }
            self.check();
        }
        while !self.held.is_empty() {
            self.release(0);
            self.check();
        }
        assert!(self.waiting.is_empty(), "all are served in the end: {:?}", self.waiting);
        assert!(self.queues.clients.is_empty() && self.queues.turns.is_empty());
    }

    fn request(&mut self, client: char, units: u64) {
        if self.queues.take(&client, units) {
            assert!(self.waiting.iter().all(|waiting| waiting.0 != client), "{client} overtakes itself");
            self.served(client, units);
            return;
        }
        self.next += 1;
        let id = self.queues.push(&client, units, self.next).unwrap();
        self.waiting.push((client, id, self.next, units));
        self.overtaken.entry(client).or_default();
    }

    fn cancel(&mut self, index: usize) {
        let (client, id, ..) = self.waiting.remove(index);
        assert!(self.queues.remove(&client, id));
        if self.waiting.iter().all(|waiting| waiting.0 != client) {
            self.overtaken.remove(&client);
        }
        self.serve();
    }

    fn release(&mut self, index: usize) {
        let (client, units) = self.held.swap_remove(index);
        self.queues.release(&client, units);
        self.overtaken.entry(client).and_modify(HashMap::clear);
        self.serve();
    }

    fn serve(&mut self) {
        while let Some(Served { client, units, item }) = self.queues.serve() {
            let first = self.waiting.iter().position(|waiting| waiting.0 == client).unwrap();
            let (_, _, expected, expected_units) = self.waiting.remove(first);
            assert_eq!((item, units), (expected, expected_units), "the requests of a client are served in order");
            self.overtaken.remove(&client);
            self.served(client, units);
            if self.waiting.iter().any(|waiting| waiting.0 == client) {
                self.overtaken.insert(client, HashMap::new());
            }
        }
    }

    fn served(&mut self, client: char, units: u64) {
        self.held.push((client, units));
        let (share, held) = (self.queues.share, self.held.clone());
        let held_by = |other: char| held.iter().filter(|(by, _)| *by == other).map(|(_, units)| units).sum::<u64>();
        for (other, overtaken) in &mut self.overtaken {
            let first = self.waiting.iter().find(|waiting| waiting.0 == *other).map_or(0, |waiting| waiting.3);
            if held_by(*other) + first > share {
                overtaken.clear();
                continue;
            }
            let times = overtaken.entry(client).or_default();
            *times += 1;
            assert!(*times <= 1, "{client} was served twice while {other} waited");
        }
    }

    fn check(&self) {
        let mut by_client = HashMap::<char, u64>::new();
        self.held.iter().for_each(|(client, units)| *by_client.entry(*client).or_default() += units);
        let in_use: u64 = by_client.values().sum();
        let usage = self.queues.usage();
        assert_eq!((usage.in_use, usage.waiting), (in_use, self.waiting.len()));
        assert!(in_use <= self.queues.capacity);
        assert!(by_client.values().all(|held| *held <= self.queues.share), "{by_client:?}");
        // a request that could be served does not wait, except behind one that needs more room
        let heads = |waiting: &&(char, u64, u32, u64)| {
            let first = self.waiting.iter().find(|other| other.0 == waiting.0);
            first.is_some_and(|first| first.1 == waiting.1)
        };
        let mut eligible = self.waiting.iter().filter(heads).filter(|(client, _, _, units)| {
            by_client.get(client).copied().unwrap_or_default() + units <= self.queues.share
        });
        let free = self.queues.capacity - in_use;
        assert!(
            eligible.clone().next().is_none() || eligible.any(|(_, _, _, units)| *units > free),
            "{free} units are free: {:?}",
            self.waiting
        );
    }
}
