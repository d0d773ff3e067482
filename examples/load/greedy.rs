//! Clients that take all they can get: the largest pages, all connections and files, unfinished bodies, time travel. The
//! server's `/living-map/health` and memory are measured meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::machine::{Usage, allow_files, seconds};
use crate::probe::Probe;
use crate::report::mib;

/// `/living-map/health` is to answer within this time, and memory to stay this far above idle.
const MARK_HEALTH_MS: f64 = 1_000.0;
const MARK_BYTES: u64 = 700 << 20;

/// Announced length of an unfinished body, and the part of it that is sent.
const BODY_BYTES: usize = 1_000_000;

#[derive(clap::Args)]
pub struct Arguments {
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1:7017")]
    address: SocketAddr,
    /// Process id of the server.
    #[arg(long)]
    server_pid: u32,
    /// Large events published before.
    #[arg(long, default_value_t = 300)]
    events: u32,
    /// Bytes of each.
    #[arg(long, default_value_t = 900_000)]
    event_bytes: usize,
    /// Clients that read the largest pages all the time.
    #[arg(long, default_value_t = 10)]
    readers: usize,
    /// Clients that request the largest pages and read nothing.
    #[arg(long, default_value_t = 4)]
    non_readers: usize,
    /// Connections with an unfinished head.
    #[arg(long, default_value_t = 20_000)]
    connections: usize,
    /// Connections with an unfinished body.
    #[arg(long, default_value_t = 1_000)]
    bodies: usize,
    /// Concurrent requests of past maps.
    #[arg(long, default_value_t = 100)]
    time_travels: usize,
    /// Duration of each measurement, seconds.
    #[arg(long, default_value = "20", value_parser = seconds)]
    duration: Duration,
}

/// A kind of greedy client.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Load {
    Pages,
    Heads,
    Bodies,
    TimeTravel,
}

const LOADS: [Load; 4] = [Load::Pages, Load::Heads, Load::Bodies, Load::TimeTravel];

/// Open files of the measurement besides those of connections and bodies: time travels, readers, the probe.
fn other_files(arguments: &Arguments) -> usize {
    arguments.time_travels + arguments.readers + arguments.non_readers + 64
}

impl Arguments {
    /// With fewer connections and bodies, in proportion, if more open files would be needed than the hard limit allows.
    fn within_file_limit(mut self) -> Result<Self> {
        let (others, clients) = (other_files(&self), self.connections + self.bodies);
        let allowed = allow_files(clients + others)?.saturating_sub(others);
        if allowed < clients {
            let (connections, bodies) = (self.connections, self.bodies);
            self.bodies = bodies * allowed / clients;
            self.connections = allowed - self.bodies;
            println!(
                "The hard limit of open files (ulimit -Hn) allows {} connections with an unfinished head instead of \
                 {connections}, and {} with an unfinished body instead of {bodies}.\n",
                self.connections, self.bodies
            );
        }
        ensure!(self.connections > 0 && self.bodies > 0, "the hard limit of open files allows no connections");
        Ok(self)
    }
}

pub fn run(arguments: Arguments) -> Result<()> {
    let arguments = &arguments.within_file_limit()?;
    fill(arguments)?;
    sleep(Duration::from_secs(5));
    let idle = Usage::of(arguments.server_pid)?.rss;
    println!("Idle: {} MiB.\n", mib(idle));
    println!("| load | health p50 ms | worst ms | failed | memory above idle MiB | full answers | marks |");
    println!("|---|---|---|---|---|---|---|");
    for loads in LOADS.iter().map(std::slice::from_ref).chain([&LOADS[..]]) {
        measure(arguments, loads, idle)?;
    }
    Ok(())
}

fn measure(arguments: &Arguments, loads: &[Load], idle: u64) -> Result<()> {
    let (running, answers) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let probe = Probe::start(arguments.address, arguments.server_pid);
    let clients = Clients { arguments, running: &running, answers: &answers };
    let mut threads = Vec::new();
    let mut open = Vec::new();
    for load in loads {
        match load {
            Load::Pages => {
                threads.extend((0..arguments.readers).map(|_| clients.repeat("/living-map/history?limit=1000".into())));
                open.extend(clients.send(arguments.non_readers, &get("/living-map/history?limit=1000")));
            }
            Load::Heads => open.extend(clients.send(arguments.connections, b"GET / HTTP/1.1\r\nHost: ")),
            Load::Bodies => open.extend(clients.send(arguments.bodies, &unfinished_body())),
            Load::TimeTravel => {
                let cursors = past_cursors(arguments)?;
                threads.extend((0..arguments.time_travels).map(|number| {
                    clients.repeat(format!("/living-map/snapshot?at={}", cursors[number % cursors.len()]))
                }));
            }
        }
    }
    sleep(arguments.duration);
    running.store(false, Ordering::Relaxed);
    let mut measured = probe.stop();
    drop(open);
    for thread in threads {
        // a client whose connection was closed has ended already
        let _ = thread.join();
    }
    let [median, worst] = measured.health.percentiles([0.5, 1.0]);
    let above = measured.peak.saturating_sub(idle);
    let met = measured.failures == 0 && measured.health.len() > 0 && worst < MARK_HEALTH_MS && above <= MARK_BYTES;
    println!(
        "| {loads:?} | {median:.1} | {worst:.1} | {} | {} | {} | {} |",
        measured.failures,
        mib(above),
        answers.load(Ordering::Relaxed),
        if met { "met" } else { "missed" },
    );
    // what these clients occupied is free again before the next measurement
    sleep(Duration::from_secs(5));
    Ok(())
}

struct Clients<'a> {
    arguments: &'a Arguments,
    running: &'a Arc<AtomicBool>,
    answers: &'a Arc<AtomicU64>,
}

impl Clients<'_> {
    /// A client that requests `path` again and again, and reads each answer.
    fn repeat(&self, path: String) -> JoinHandle<()> {
        let (address, running, answers) = (self.arguments.address, Arc::clone(self.running), Arc::clone(self.answers));
        spawn(move || {
            while running.load(Ordering::Relaxed) {
                match read(address, &get(&path)) {
                    Ok(answer) if answer.starts_with(b"HTTP/1.1 200 ") => drop(answers.fetch_add(1, Ordering::Relaxed)),
                    Ok(_) | Err(_) => sleep(Duration::from_millis(200)),
                }
            }
        })
    }

    /// `number` connections on which `bytes` are written and nothing is read.
    fn send(&self, number: usize, bytes: &[u8]) -> Vec<TcpStream> {
        let connect = || {
            let mut socket = TcpStream::connect_timeout(&self.arguments.address, Duration::from_secs(5)).ok()?;
            socket.set_write_timeout(Some(Duration::from_millis(200))).ok()?;
            // a part is enough: the server does not read more from a client that it has no room for
            let _ = socket.write_all(bytes);
            Some(socket)
        };
        (0..number).map_while(|_| connect()).collect()
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into_bytes()
}

fn unfinished_body() -> Vec<u8> {
    let head = "POST /living-map/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let mut bytes = format!("{head}Content-Length: {BODY_BYTES}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + BODY_BYTES - 1, b' ');
    bytes
}

/// A complete answer.
fn read(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(30))?;
    socket.set_read_timeout(Some(Duration::from_mins(1)))?;
    socket.write_all(request)?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(answer)
}

fn read_json(address: SocketAddr, path: &str) -> Result<Value> {
    let url = format!("http://{address}{path}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Ok(reqwest::get(url).await?.error_for_status()?.json().await?) })
}

/// Publishes the large events, one in a request.
fn fill(arguments: &Arguments) -> Result<()> {
    for number in 0..arguments.events {
        let payload = json!({"agent_id": format!("agent:{number}"), "status": "online", "text": "x".repeat(arguments.event_bytes)});
        let body = json!({"event_type": "agent.event.status", "payload": payload}).to_string();
        let head = "POST /living-map/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = read(arguments.address, request.as_bytes())?;
        ensure!(answer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

/// Cursors of recorded events, each with a past map.
fn past_cursors(arguments: &Arguments) -> Result<Vec<String>> {
    let newest = read_json(arguments.address, "/living-map/snapshot?layers=space")?;
    let newest = newest["meta"]["cursor"].as_str().context("the snapshot has a cursor")?;
    let (epoch, last) = newest.split_once('.').context("a cursor has two parts")?;
    let last: u64 = last.parse()?;
    if last < 10 {
        bail!("the log has {last} events, too few for time travel");
    }
    Ok((1..last).rev().step_by(3).take(100).map(|seq| format!("{epoch}.{seq}")).collect())
}
