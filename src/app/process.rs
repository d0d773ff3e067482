//! Sockets, signals, metrics and the error journal of a process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::instruments::{self, TRACES};
use super::settings::{Settings, open_journal};
use crate::http::{self, AcceptThread, ReadinessProbe};
use crate::instruments::register;
use crate::journal::Journal;
use crate::tasks::{Stage, Tasks};
use crate::telemetry::Export;
use crate::tls;

/// Connections that may wait to be accepted: after a restart all clients of a server connect at once.
const BACKLOG: u32 = 4096;

/// Interval at which the metrics recorder drops samples it no longer needs.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Resources of a long-running command.
pub struct Process {
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// The socket of the HTTP server, listening.
    pub listener: TcpListener,
    /// Its address.
    pub address: SocketAddr,
    /// Accepts connections and answers probes.
    pub accept_thread: Arc<AcceptThread>,
    /// Cancelled by a stop signal.
    pub stop: CancellationToken,
}

impl Process {
    /// Starts recording metrics, listens on `port`, which `variable` sets, and handles stop signals.
    ///
    /// # Errors
    /// The system's certificate authorities cannot be read, the address cannot be bound, or a thread cannot be started.
    pub fn start(settings: &Settings, port: u16, variable: &str) -> anyhow::Result<Self> {
        let metrics = record_metrics()?;
        tls::check_system_authorities()?;
        let address = SocketAddr::new(settings.listen.bind, port);
        let listener = listen(address).with_context(|| format!("cannot listen on {address} (BIND, {variable})"))?;
        let address = listener.local_addr()?;
        let accept_thread = AcceptThread::start().context("the thread that accepts connections cannot be started")?;
        Ok(Self { metrics, listener, address, accept_thread: Arc::new(accept_thread), stop: stop_signal()? })
    }
}

/// Serves `/metrics`, `/health` and `/ready` on a separate socket, if one is configured. The last one answers 503 until the
/// returned probe has the server's router.
///
/// # Errors
/// The address cannot be bound.
pub fn serve_probes(settings: &Settings, process: &Process, tasks: &mut Tasks) -> anyhow::Result<ReadinessProbe> {
    let config = settings.serving.http.clone();
    let readiness = ReadinessProbe::new(Handle::current(), &config);
    let Some(address) = settings.listen.metrics_bind else { return Ok(readiness) };
    let listener = listen(address).with_context(|| format!("cannot listen on {address} (METRICS_BIND)"))?;
    tracing::info!("/metrics, /health and /ready on http://{}", listener.local_addr()?);
    let router = http::listener_router(&config, process.metrics.clone(), readiness.clone());
    let thread = Arc::clone(&process.accept_thread);
    // in the last stage, so that metrics can be read during the whole stop
    tasks.spawn("metrics listener", Stage::Recording, |stop| async move {
        http::serve_probes(&thread, listener, router, &config, stop).await;
    });
    Ok(readiness)
}

/// Starts the error journal and the export of traces.
///
/// # Errors
/// The location of the journal is invalid.
pub fn start_journal(settings: &Settings, traces: Option<Export>, tasks: &mut Tasks) -> anyhow::Result<Journal> {
    let journal = open_journal(settings)?;
    // stopped before the journal, which records the traces that could not be exported at the end
    if let Some(traces) = traces {
        register(TRACES);
        let journal = journal.clone();
        tasks.spawn("traces", Stage::Recording, |stop| traces.run(journal, stop));
    }
    tasks.spawn("error journal", Stage::Recording, {
        let journal = journal.clone();
        |stop| journal.run(stop)
    });
    Ok(journal)
}

/// Starts the regular upkeep of the metrics recorder.
pub fn start_metrics_upkeep(metrics: PrometheusHandle, tasks: &mut Tasks) {
    tasks.spawn("metrics upkeep", Stage::Working, |stop| async move {
        let upkeep = async {
            loop {
                tokio::time::sleep(METRICS_UPKEEP).await;
                metrics.run_upkeep();
            }
        };
        stop.run_until_cancelled(upkeep).await;
    });
}

fn record_metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), http::DURATION_BUCKETS)?
        .install_recorder()
        .context("metrics cannot be recorded")
        .inspect(|_| instruments::describe())
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // a restart does not wait for closed connections of the process before to time out
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Cancelled by Ctrl-C (SIGINT) or SIGTERM.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}
