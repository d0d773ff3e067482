//! The limit of open files, and the connections that fit into it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::settings::Settings;

/// Raises the soft limit of open files of this process to the hard one. Returns the limit; `None` is no limit.
pub fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, soft_limit = current, "the limit of open files could not be raised");
            current
        }
    }
}

/// Caps `MAX_CONNECTIONS` and `STREAM_MAX_CLIENTS` together, in proportion, to what `limit` leaves beside
/// `RESERVED_FILES`.
pub fn cap_connections(settings: &mut Settings, limit: Option<u64>) {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
    let (connections, streams) = (settings.serving.http.max_connections, settings.stream.max_clients);
    // where nearly all are reserved, half of them still serve clients
    let available = limit.saturating_sub(settings.listen.reserved_files).max(limit / 2);
    let wanted = connections.saturating_add(streams);
    if wanted <= available {
        tracing::info!(
            files = limit,
            max_connections = connections,
            max_streams = streams,
            "the limit of open files suffices for all connections"
        );
        return;
    }
    let share = |part: usize| usize::try_from(part as u128 * available as u128 / wanted as u128).unwrap_or(part).max(1);
    let (connections, streams) = (share(connections), share(streams));
    (settings.serving.http.max_connections, settings.stream.max_clients) = (connections, streams);
    tracing::warn!(
        files = limit,
        max_connections = connections,
        max_streams = streams,
        "MAX_CONNECTIONS and STREAM_MAX_CLIENTS exceed the limit of open files; using less of both"
    );
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn connections_and_streams_fit_into_the_file_limit() {
        for (limit, connections, streams) in
            [(None, 20_000, 50_000), (Some(100_000), 20_000, 50_000), (Some(1_024), 219, 548), (Some(100), 14, 35)]
        {
            let mut settings = Command::parse_from(["test"]).settings;
            cap_connections(&mut settings, limit);
            let capped = (settings.serving.http.max_connections, settings.stream.max_clients);
            assert_eq!(capped, (connections, streams), "{limit:?}");
        }
    }
}
