//! Clocks that jump: the log's own, and the producers'. The order is the log's, whatever they say.

use super::*;

#[test]
fn the_later_entry_wins_regardless_of_producers_clocks() {
    let mut log = Log::new();
    let status =
        |status: &str, ts: &str| json!({"agent_id": "agent:a", "status": status, "timestamp": ts, "event_id": status});
    log.push("agent.event.status", &status("online", "2031-01-01T00:00:00Z"));
    log.push("agent.event.status", &status("error", "1999-01-01T00:00:00Z"));
    log.push("agent.event.status", &status("offline", "2026-01-01T00:00:00Z"));
    assert_eq!(log.item("agent:a")["status"], "offline");
    let last_active = log.item("agent:a")["last_active"].as_str().map(str::to_owned).expect("a sign of life");
    let last_active: DateTime<Utc> = last_active.parse().unwrap();
    assert!(last_active <= log.now, "limited to the log's time: {last_active}");
    assert_eq!(log.client, layers_of(&log.state));
}

/// The log's time stands still until the clock has caught up.
#[test]
fn the_logs_clock_may_be_set_back() {
    let mut log = Log::new();
    let call = |id: &str| json!({"event_id": id, "agent_id": "agent:a", "model": "m", "total_tokens": 1});
    log.push("usage.llm", &call("1"));
    let before = log.state.logged_at();
    log.pass_hours(-48);
    log.push("usage.llm", &call("2"));
    assert_eq!(log.state.logged_at(), before);
    assert_eq!(log.item("agent:a")["usage"]["tokens_24h"], 2, "counted in the hour at which the time stands still");
    log.pass_hours(47);
    log.push("usage.llm", &call("3"));
    assert_eq!((log.state.logged_at(), &log.item("agent:a")["usage"]["tokens_24h"]), (before, &json!(3)));
    log.pass_hours(26);
    log.push("usage.llm", &call("4"));
    assert!(log.state.logged_at() > before);
    assert_eq!(log.item("agent:a")["usage"]["tokens_24h"], 1, "both expire together");
    assert_eq!(log.client, layers_of(&log.state));
}

/// Entries expire as if the time had passed.
#[test]
fn the_logs_clock_may_jump_ahead() {
    let mut log = Log::new();
    log.push("node.metrics.gpu-1", &json!({"cpu": 0.5}));
    log.push("agent.event.created", &json!({"agent_id": "agent:real"}));
    log.pass_hours(24 * 365);
    log.push("strange", &json!({}));
    // the log's time does not run back with the clock
    log.pass_hours(-24 * 365);
    log.push("strange", &json!({}));
    assert_eq!(log.item("node:gpu-1")["status"], "offline");
    log.push("node.metrics.gpu-1", &json!({"cpu": 0.5}));
    assert_eq!(log.item("node:gpu-1")["status"], "online", "online again after new metrics");
    assert_eq!(log.ids(), ["agent:real", "node:gpu-1"]);
    assert_eq!(log.client, layers_of(&log.state));
}
