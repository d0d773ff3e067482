//! Requests per second over keep-alive connections.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::machine::{Usage, seconds};
use crate::report::{Latencies, mib, per, row};
use crate::wire::Target;

const BUFFER_BYTES: usize = 512 * 1024;

#[derive(clap::Args)]
pub struct Arguments {
    /// URL to request; the response must have a Content-Length.
    #[arg(long, default_value = "http://127.0.0.1:7017/living-map/snapshot")]
    url: String,
    /// Name in the table.
    #[arg(long, default_value = "living-map")]
    name: String,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// `Accept-Encoding`: identity, gzip, zstd.
    #[arg(long, default_value = "identity")]
    encoding: String,
    /// Duration, seconds.
    #[arg(long, default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// Process ids of the server (of nginx: its workers), to measure CPU and memory.
    #[arg(long, required = true, value_delimiter = ',')]
    server_pid: Vec<u32>,
}

struct Connection {
    socket: TcpStream,
    sent_at: Instant,
    head: Vec<u8>,
    /// Remaining bytes of the body; `None` while the head is read.
    left: Option<usize>,
}

/// Measurements so far.
#[derive(Default)]
struct Tally {
    latencies: Latencies,
    bytes: u64,
    body: usize,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let target = Target::parse(&arguments.url)?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: {}\r\n\r\n",
        target.path, target.host, arguments.encoding
    );
    let mut poll = Poll::new()?;
    let mut connections = Vec::new();
    for index in 0..arguments.connections {
        let socket = std::net::TcpStream::connect(target.address).context("connecting")?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
        connections.push(Connection { socket, sent_at: Instant::now(), head: Vec::new(), left: None });
    }
    let usage = || -> Result<(f64, u64)> {
        let each = arguments.server_pid.iter().map(|pid| Usage::of(*pid)).collect::<Result<Vec<_>>>()?;
        Ok((each.iter().map(|usage| usage.cpu).sum(), each.iter().map(|usage| usage.rss).sum()))
    };
    let (mut tally, mut buffer, mut events) = (Tally::default(), vec![0; BUFFER_BYTES], Events::with_capacity(1024));
    let (before, own, start) = (usage()?, Usage::own()?, Instant::now());
    for connection in &mut connections {
        connection.send(&request)?;
    }
    while start.elapsed() < arguments.duration {
        match poll.poll(&mut events, Some(Duration::from_millis(100))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            done => done?,
        }
        for event in &events {
            connections[event.token().0].read(&request, &mut buffer, &mut tally)?;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let (after, own_after) = (usage()?, Usage::own()?);
    let requests = tally.latencies.len() as u64;
    ensure!(requests > 0, "no response was received");
    let [p50, p99, p999] = tally.latencies.percentiles([0.5, 0.99, 0.999]);
    row(&[
        ("server", arguments.name.clone()),
        ("encoding", arguments.encoding.clone()),
        ("body bytes", tally.body.to_string()),
        ("connections", arguments.connections.to_string()),
        ("requests/s", format!("{:.0}", per(seconds, requests).recip())),
        ("MiB/s", format!("{:.0}", per(seconds, tally.bytes / 1_048_576).recip())),
        ("p50 ms", format!("{p50:.2}")),
        ("p99 ms", format!("{p99:.2}")),
        ("p99.9 ms", format!("{p999:.2}")),
        ("server CPU s", format!("{:.2}", after.0 - before.0)),
        ("CPU µs/request", format!("{:.1}", per((after.0 - before.0) * 1e6, requests))),
        ("server RSS MiB", mib(after.1)),
        ("generator CPU s", format!("{:.2}", own_after.cpu - own.cpu)),
    ]);
    Ok(())
}

impl Connection {
    fn send(&mut self, request: &str) -> Result<()> {
        self.sent_at = Instant::now();
        Ok(self.socket.write_all(request.as_bytes())?)
    }

    /// Reads all available bytes; after a complete response, sends the next request.
    fn read(&mut self, request: &str, buffer: &mut [u8], tally: &mut Tally) -> Result<()> {
        loop {
            let read = match self.socket.read(buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            tally.bytes += read as u64;
            let body = match self.left {
                Some(_) => read,
                None => match self.take_head(&buffer[..read], tally)? {
                    Some(body) => body,
                    None => continue,
                },
            };
            let left =
                self.left.unwrap_or(0).checked_sub(body).context("the body is longer than its Content-Length")?;
            self.left = Some(left);
            if left == 0 {
                tally.latencies.add(u64::try_from(self.sent_at.elapsed().as_micros()).unwrap_or(u64::MAX));
                self.left = None;
                self.send(request)?;
            }
        }
    }

    /// Reads the head; returns the number of body bytes read with it.
    fn take_head(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<Option<usize>> {
        self.head.extend_from_slice(bytes);
        let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&self.head[..end]).to_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "the server responded: {}", head.lines().next().unwrap_or_default());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        tally.body = length.context("the response has no Content-Length")?;
        self.left = Some(tally.body);
        let body = self.head.len() - end - 4;
        self.head.clear();
        Ok(Some(body))
    }
}
