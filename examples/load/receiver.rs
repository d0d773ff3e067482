//! Many WebSocket clients in a few threads.
//!
//! Uses raw sockets, one read per delivery and a search for two numbers, so that the generator takes as little CPU as possible
//! from the server on the same machine.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::report::Latencies;
use crate::wire::{self, Target};

/// Bytes read at a time; longer frames are skipped without parsing.
const BUFFER_BYTES: usize = 256 * 1024;

/// Settings of all clients.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Server to connect to.
    pub target: Target,
    /// Number of clients.
    pub clients: usize,
    /// Number of threads.
    pub threads: usize,
    /// Concurrent handshakes of each thread.
    pub at_once: usize,
    /// With NATS, the frame that subscribes; a client is ready after the PONG to its PING.
    pub subscribe: Option<Vec<u8>>,
}

/// Progress of all clients.
#[derive(Debug, Default)]
pub struct Progress {
    /// Clients that have received their complete first frame.
    pub ready: AtomicU64,
    /// Events received by all clients.
    pub received: AtomicU64,
    /// Closed connections.
    pub lost: AtomicU64,
    /// Set to stop the receivers.
    pub stop: AtomicBool,
}

/// Measurements of all clients.
#[derive(Debug, Default)]
pub struct Tally {
    /// From publishing to receiving.
    pub latencies: Latencies,
    /// From the start to the complete first frame.
    pub first_frames: Latencies,
    /// Events missing between two received ones.
    pub missing: u64,
    /// Events received again, or out of order.
    pub repeated: u64,
}

/// Receiver threads.
pub struct Receivers {
    /// Progress.
    pub progress: Arc<Progress>,
    threads: Vec<JoinHandle<Result<Tally>>>,
}

impl Receivers {
    /// Starts connecting.
    pub fn start(plan: &Plan) -> Self {
        let progress: Arc<Progress> = Arc::default();
        let threads = (0..plan.threads)
            .map(|index| {
                let clients = (plan.clients + plan.threads - 1 - index) / plan.threads;
                let (plan, progress) = (Plan { clients, ..plan.clone() }, Arc::clone(&progress));
                std::thread::spawn(move || Thread::new(plan, progress)?.run())
            })
            .collect();
        Self { progress, threads }
    }

    /// Waits until `number` clients have their first frame.
    pub fn wait_ready(&self, number: u64, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        while self.progress.ready.load(Ordering::Relaxed) < number {
            if Instant::now() > deadline || self.threads.iter().any(JoinHandle::is_finished) {
                bail!("{} of {number} clients have their first frame", self.progress.ready.load(Ordering::Relaxed));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Stops all clients; returns their measurements.
    pub fn finish(self) -> Result<Tally> {
        self.progress.stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for thread in self.threads {
            let tally = thread.join().map_err(|_| anyhow::anyhow!("a receiver panicked"))??;
            sum.latencies.extend(tally.latencies);
            sum.first_frames.extend(tally.first_frames);
            sum.missing += tally.missing;
            sum.repeated += tally.repeated;
        }
        Ok(sum)
    }
}

enum Stage {
    /// Waiting for the response to the upgrade.
    Head,
    /// Waiting for the first frame.
    First,
    /// Receiving events.
    Events,
}

struct Client {
    socket: TcpStream,
    stage: Stage,
    /// Beginning of an incomplete frame.
    carry: Vec<u8>,
    /// Remaining bytes of a frame that is too long to parse.
    skip: usize,
    /// Number of the next event.
    next: Option<u64>,
}

struct Thread {
    plan: Plan,
    progress: Arc<Progress>,
    poll: Poll,
    clients: Vec<Option<Client>>,
    opening: usize,
    started: Instant,
    tally: Tally,
    buffer: Vec<u8>,
}

impl Thread {
    fn new(plan: Plan, progress: Arc<Progress>) -> Result<Self> {
        let clients = Vec::with_capacity(plan.clients);
        let (poll, buffer) = (Poll::new()?, vec![0; BUFFER_BYTES]);
        let started = Instant::now();
        Ok(Self { plan, progress, poll, clients, opening: 0, started, tally: Tally::default(), buffer })
    }

    fn run(mut self) -> Result<Tally> {
        let mut events = Events::with_capacity(4096);
        while !self.progress.stop.load(Ordering::Relaxed) {
            while self.opening < self.plan.at_once && self.clients.len() < self.plan.clients {
                self.open()?;
            }
            match self.poll.poll(&mut events, Some(Duration::from_millis(50))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                done => done?,
            }
            for event in &events {
                self.serve(event.token().0, event.is_writable())?;
            }
        }
        Ok(self.tally)
    }

    fn open(&mut self) -> Result<()> {
        let mut socket = TcpStream::connect(self.plan.target.address)?;
        socket.set_nodelay(true)?;
        let token = Token(self.clients.len());
        self.poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        self.clients.push(Some(Client { socket, stage: Stage::Head, carry: Vec::new(), skip: 0, next: None }));
        self.opening += 1;
        Ok(())
    }

    fn serve(&mut self, index: usize, writable: bool) -> Result<()> {
        let Some(mut client) = self.clients.get_mut(index).and_then(Option::take) else { return Ok(()) };
        if writable && matches!(client.stage, Stage::Head) {
            client.socket.write_all(&self.plan.target.upgrade()).context("the upgrade request")?;
            let token = Token(index);
            self.poll.registry().reregister(&mut client.socket, token, Interest::READABLE)?;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let open = self.read(&mut client, &mut buffer);
        self.buffer = buffer;
        if open? {
            self.clients[index] = Some(client);
        } else {
            self.progress.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads all available bytes; false when the connection is closed.
    fn read(&mut self, client: &mut Client, buffer: &mut [u8]) -> Result<bool> {
        loop {
            let carried = client.carry.len();
            buffer[..carried].copy_from_slice(&client.carry);
            client.carry.clear();
            let read = match client.socket.read(&mut buffer[carried..]) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    client.carry.extend_from_slice(&buffer[..carried]);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            let full = carried + read == buffer.len();
            let used = self.process(client, &buffer[..carried + read])?;
            client.carry.extend_from_slice(&buffer[used..carried + read]);
            // a short read has emptied the socket (epoll(7), question 9)
            if !full {
                return Ok(true);
            }
        }
    }

    /// Processes complete frames in `bytes`; returns their length.
    fn process(&mut self, client: &mut Client, bytes: &[u8]) -> Result<usize> {
        let mut used = 0;
        if matches!(client.stage, Stage::Head) {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(0) };
            let status = String::from_utf8_lossy(&bytes[..end.min(60)]).into_owned();
            if !status.starts_with("HTTP/1.1 101") {
                bail!("the server rejected a client: {status}");
            }
            client.stage = Stage::First;
            self.opening -= 1;
            used = end + 4;
            if let Some(frame) = &self.plan.subscribe {
                client.socket.write_all(frame)?;
            }
        }
        loop {
            if client.skip > 0 {
                let skipped = client.skip.min(bytes.len() - used);
                client.skip -= skipped;
                used += skipped;
                if client.skip > 0 {
                    return Ok(used);
                }
                self.first_frame(client);
            }
            let Some((opcode, start, length)) = wire::header(&bytes[used..]) else { return Ok(used) };
            let Some(payload) = bytes[used..].get(start..start + length) else {
                if length >= BUFFER_BYTES / 2 {
                    client.skip = start + length;
                    continue;
                }
                return Ok(used);
            };
            used += start + length;
            match opcode {
                0x8 => bail!(
                    "the server closed a connection: {}",
                    String::from_utf8_lossy(payload.get(2..).unwrap_or_default())
                ),
                0x9 => client.socket.write_all(&wire::masked(0xa, payload))?,
                _ => self.frame(client, payload)?,
            }
        }
    }

    fn first_frame(&mut self, client: &mut Client) {
        if matches!(client.stage, Stage::First) {
            client.stage = Stage::Events;
            self.tally.first_frames.add(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX));
            self.progress.ready.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn frame(&mut self, client: &mut Client, mut payload: &[u8]) -> Result<()> {
        if self.plan.subscribe.is_some() {
            if payload.starts_with(b"PING") {
                return Ok(client.socket.write_all(&wire::masked(0x2, b"PONG\r\n"))?);
            }
            if payload.starts_with(b"PONG") {
                self.first_frame(client);
            }
        } else if matches!(client.stage, Stage::First) {
            self.first_frame(client);
            return Ok(());
        }
        let mut received = 0;
        while let Some((number, at)) = wire::number_after(payload, wire::NUMBER) {
            payload = &payload[at..];
            let Some((micros, at)) = wire::number_after(payload, wire::MICROS) else { break };
            payload = &payload[at..];
            self.tally.latencies.add(wire::now_micros().saturating_sub(micros));
            received += 1;
            let next = client.next.unwrap_or(number);
            self.tally.missing += number.saturating_sub(next);
            self.tally.repeated += u64::from(number < next);
            client.next = Some(next.max(number + 1));
        }
        self.progress.received.fetch_add(received, Ordering::Relaxed);
        Ok(())
    }
}
