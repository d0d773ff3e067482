//! Many clients connecting at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::machine::{Usage, need_files, seconds, tcp_memory};
use crate::receiver::{Plan, Receivers};
use crate::report::{mib, row};
use crate::wire::Target;

#[derive(clap::Args)]
pub struct Arguments {
    /// URL of the stream; with `?snapshot=false`, the first frame is small.
    #[arg(long, default_value = "ws://127.0.0.1:7017/living-map/stream")]
    url: String,
    /// WebSocket clients.
    #[arg(long, default_value_t = 2000)]
    clients: usize,
    /// Receiving threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Concurrent handshakes of each thread; 0 for no limit.
    #[arg(long, default_value_t = 0)]
    at_once: usize,
    /// Seconds until the memory of idle connections is measured.
    #[arg(long, default_value = "5", value_parser = seconds)]
    settle: Duration,
    /// Process id of the server, to measure its CPU and memory.
    #[arg(long)]
    server_pid: u32,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    need_files(arguments.clients)?;
    let clients = arguments.clients as u64;
    let target = Target::parse(&arguments.url)?;
    let at_once = if arguments.at_once == 0 { arguments.clients } else { arguments.at_once };
    let plan = Plan { target, clients: arguments.clients, threads: arguments.threads, at_once, subscribe: None };
    let pid = arguments.server_pid;
    let (before, own) = (Usage::of(pid)?, Usage::own()?);
    let done = AtomicBool::new(false);
    let (receivers, seconds, peak) = std::thread::scope(|scope| {
        let peak = scope.spawn(|| peak(pid, &done));
        let start = Instant::now();
        let receivers = Receivers::start(&plan);
        let ready = receivers.wait_ready(clients, Duration::from_mins(2));
        let seconds = start.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        (ready.map(|()| receivers), seconds, peak.join().unwrap_or_default())
    });
    let receivers = receivers?;
    let (connected, own_after) = (Usage::of(pid)?, Usage::own()?);
    std::thread::sleep(arguments.settle);
    let idle = Usage::of(pid)?;
    let mut first = receivers.finish()?.first_frames;
    let [p50, p99] = first.percentiles([0.5, 0.99]);
    row(&[
        ("clients", clients.to_string()),
        ("last first frame after s", format!("{seconds:.2}")),
        ("p50 ms", format!("{p50:.0}")),
        ("p99 ms", format!("{p99:.0}")),
        ("server CPU s", format!("{:.2}", connected.cpu - before.cpu)),
        ("generator CPU s", format!("{:.2}", own_after.cpu - own.cpu)),
        ("server RSS MiB before", mib(before.rss)),
        ("peak", mib(peak.0)),
        ("idle", mib(idle.rss)),
        ("bytes per idle connection", (idle.rss.saturating_sub(before.rss) / clients.max(1)).to_string()),
        ("peak TCP buffers MiB", mib(peak.1)),
    ]);
    Ok(())
}

/// Peak memory of the server, and of the TCP buffers in the kernel, bytes.
fn peak(pid: u32, done: &AtomicBool) -> (u64, u64) {
    let mut peak = (0, 0);
    while !done.load(Ordering::Relaxed) {
        peak.0 = peak.0.max(Usage::of(pid).map_or(0, |usage| usage.rss));
        peak.1 = peak.1.max(tcp_memory());
        std::thread::sleep(Duration::from_millis(10));
    }
    peak
}
