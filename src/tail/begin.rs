//! Starting position: the current one, or that of an earlier moment.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use living_map::model::time;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::RETRY;
use super::server::{Server, failure, send};
use super::show::printable;

/// Timeout for the server to find the position.
const PATIENCE: Duration = Duration::from_secs(30);

/// A time, or a duration before now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Since {
    /// A time of the log.
    Time(DateTime<Utc>),
    /// A duration before now.
    Ago(TimeDelta),
}

impl Since {
    /// Parses `2026-01-19T12:00:00Z`, `90s`, `15m`, `2h` or `7d`.
    pub fn read(text: &str) -> Result<Self, String> {
        let ago = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return None,
            };
            let seconds = i64::from(number.parse::<u32>().ok()?) * seconds;
            Some(Self::Ago(TimeDelta::seconds(seconds)))
        };
        ago()
            .or_else(|| time::parse(text).map(Self::Time))
            .ok_or_else(|| "expected a time such as 2026-01-19T12:00:00Z, or a duration: 90s, 15m, 2h, 7d".to_owned())
    }

    fn time(self) -> DateTime<Utc> {
        match self {
            Self::Time(time) => time,
            Self::Ago(ago) => Utc::now().checked_sub_signed(ago).unwrap_or(DateTime::UNIX_EPOCH),
        }
    }
}

/// The position at `since`, or the current one, so that no event before the first frame is missed. A moment that is too
/// early is replaced by the earliest available one, with a message.
pub async fn cursor(server: &Server, since: Option<Since>) -> anyhow::Result<String> {
    let mut url = server.url("snapshot")?;
    // the smallest answer that has the position
    url.query_pairs_mut().append_pair("layers", "city");
    if let Some(since) = since {
        let at = since.time().to_rfc3339_opts(SecondsFormat::Micros, true);
        url.query_pairs_mut().append_pair("at", &at);
    }
    let mut waiting = false;
    loop {
        let answer = send(server.get(url.clone()).timeout(PATIENCE)).await?;
        if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
            return read(answer).await;
        }
        if !std::mem::replace(&mut waiting, true) {
            eprintln!("the server is not ready; waiting");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn read(answer: Response) -> anyhow::Result<String> {
    let status = answer.status();
    if status.is_success() {
        let cursor = answer.headers().get("x-living-map-cursor").and_then(|cursor| cursor.to_str().ok());
        return cursor.map(str::to_owned).context("the response has no cursor; is this the address of a Living Map?");
    }
    let problem: Value = answer.json().await.unwrap_or_default();
    if status == StatusCode::GONE
        && let Some(oldest) = problem["oldest_cursor"].as_str()
    {
        let from = problem["oldest_time"].as_str().map(printable).unwrap_or_default();
        eprintln!("the earliest available position is {from}; starting there");
        return Ok(oldest.to_owned());
    }
    Err(failure(status, &problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        assert_eq!(Since::read("90s"), Ok(Since::Ago(TimeDelta::seconds(90))));
        assert_eq!(Since::read("2h"), Ok(Since::Ago(TimeDelta::hours(2))));
        assert_eq!(Since::read("7d"), Ok(Since::Ago(TimeDelta::days(7))));
        let time = "2026-01-19T12:00:00Z".parse().unwrap();
        assert_eq!(Since::read("2026-01-19T14:00:00+02:00"), Ok(Since::Time(time)));
        for text in ["", "yesterday", "h", "-2h", "2w", "2ч", "99999999999d"] {
            assert!(Since::read(text).is_err(), "{text}");
        }
    }
}
