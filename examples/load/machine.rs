//! The machine and its processes, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Unit of the times in `/proc/<pid>/stat`: 100 per second on all supported platforms.
const TICKS_PER_SECOND: f64 = 100.0;

/// One line: processor, cores, memory, kernel.
pub fn describe() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        line.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "Machine: {}, {cores} cores, {} of memory, Linux {}.",
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        kernel.trim()
    )
}

/// Resources of a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time of all threads, user and system, seconds.
    pub cpu: f64,
    /// Resident memory, bytes.
    pub rss: u64,
}

impl Usage {
    /// Usage of the process `pid`.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("no process {pid}"))?;
        // the second field is the name in parentheses, which may contain spaces
        let fields: Vec<_> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        Ok(Self { cpu: (number(11) + number(12)) / TICKS_PER_SECOND, rss: rss.unwrap_or(0_u64) * 1024 })
    }

    /// Usage of this process.
    pub fn own() -> Result<Self> {
        Self::of(std::process::id())
    }
}

/// Kernel memory of all TCP buffers of the machine, bytes.
pub fn tcp_memory() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let pages = text.lines().find_map(|line| line.strip_prefix("TCP:")?.split_once(" mem ")?.1.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Open files of this program besides those of its clients.
const OWN_FILES: u64 = 64;

/// Raises the limit of open files to at least `files`.
pub fn need_files(files: usize) -> Result<()> {
    let allowed = allow_files(files)?;
    if allowed < files {
        bail!(
            "{files} open files are needed, the hard limit allows {allowed}: raise it (ulimit -Hn, LimitNOFILE=), or use \
             fewer clients"
        );
    }
    Ok(())
}

/// Raises the limit of open files to `files`, or as far as the hard limit allows. Returns the number allowed.
pub fn allow_files(files: usize) -> Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(files as u64 + OWN_FILES, |maximum| maximum.min(files as u64 + OWN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })?;
    }
    Ok(usize::try_from(wanted.saturating_sub(OWN_FILES))?.min(files))
}

/// A duration from the command line: seconds, with or without a fraction.
pub fn seconds(text: &str) -> Result<Duration> {
    Duration::try_from_secs_f64(text.parse()?).context("expected seconds, for example 10 or 0.5")
}
