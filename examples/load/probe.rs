//! Health and memory of a server while something else happens to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::machine::Usage;
use crate::report::Latencies;

/// Pause between two requests of `/living-map/health`, and between two samples of the memory.
const PAUSE: Duration = Duration::from_millis(50);

/// A request of `/living-map/health` fails after this time.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Measurements of one period.
pub struct Measured {
    /// Times of the answers of `/living-map/health`, each over a connection of its own.
    pub health: Latencies,
    /// Requests of `/living-map/health` without a 200.
    pub failures: u64,
    /// Largest resident memory, bytes.
    pub peak: u64,
}

/// Samples a server until it is stopped.
pub struct Probe {
    running: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    failures: Arc<AtomicU64>,
    health: Arc<Mutex<Latencies>>,
    threads: Vec<JoinHandle<()>>,
}

impl Probe {
    /// Starts to sample the process `pid`, which serves `/living-map/health` at `address`.
    pub fn start(address: SocketAddr, pid: u32) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let (peak, failures) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let health = Arc::new(Mutex::new(Latencies::default()));
        let memory = {
            let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
            move || {
                while running.load(Ordering::Relaxed) {
                    peak.fetch_max(Usage::of(pid).map_or(0, |usage| usage.rss), Ordering::Relaxed);
                    std::thread::sleep(PAUSE);
                }
            }
        };
        let requests = {
            let (running, failures, health) = (Arc::clone(&running), Arc::clone(&failures), Arc::clone(&health));
            move || {
                while running.load(Ordering::Relaxed) {
                    match health_check(address) {
                        Ok(micros) => health.lock().unwrap_or_else(PoisonError::into_inner).add(micros),
                        Err(_) => drop(failures.fetch_add(1, Ordering::Relaxed)),
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        };
        let threads = vec![std::thread::spawn(memory), std::thread::spawn(requests)];
        Self { running, peak, failures, health, threads }
    }

    /// Ends the period.
    pub fn stop(self) -> Measured {
        self.running.store(false, Ordering::Relaxed);
        for thread in self.threads {
            // a panic of a sampling thread leaves fewer samples
            let _ = thread.join();
        }
        Measured {
            health: std::mem::take(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner)),
            failures: self.failures.load(Ordering::Relaxed),
            peak: self.peak.load(Ordering::Relaxed),
        }
    }
}

/// Time of one request of `/living-map/health`, in microseconds, with the connection's.
fn health_check(address: SocketAddr) -> Result<u64> {
    let start = Instant::now();
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.write_all(b"GET /living-map/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).context("no answer")?;
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    Ok(u64::try_from(start.elapsed().as_micros())?)
}
