//! Clocks that jump: the log's own, and the producers'. The order is the log's, whatever they say.

use super::*;

#[test]
fn the_later_entry_wins_whatever_the_producers_clocks_say() {
    let mut log = Log::new();
    let status =
        |status: &str, ts: &str| json!({"agent_id": "agent:a", "status": status, "timestamp": ts, "event_id": status});
    log.push("agent.event.status", &status("online", "2031-01-01T00:00:00Z"));
    log.push("agent.event.status", &status("error", "1999-01-01T00:00:00Z"));
    log.push("agent.event.status", &status("offline", "2026-01-01T00:00:00Z"));
    assert_eq!(log.item("agent:a")["status"], "offline");
    let last_active = log.item("agent:a")["last_active"].as_str().map(str::to_owned).expect("a sign of life");
    let last_active: DateTime<Utc> = last_active.parse().unwrap();
    assert!(last_active <= log.now, "a clock that runs ahead is not believed: {last_active}");
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn when_the_logs_clock_is_set_back_its_time_stands_still_until_it_is_caught_up() {
    let mut log = Log::new();
    let call = |id: &str| json!({"event_id": id, "agent_id": "agent:a", "model": "m", "total_tokens": 1});
    log.push("usage.llm", &call("1"));
    let before = log.state.logged_at();
    log.pass_hours(-48);
    log.push("usage.llm", &call("2"));
    assert_eq!(log.state.logged_at(), before);
    assert_eq!(log.item("agent:a")["usage"]["tokens_24h"], 2, "counted with the others, in the hour that it stands at");
    log.pass_hours(47);
    log.push("usage.llm", &call("3"));
    assert_eq!((log.state.logged_at(), &log.item("agent:a")["usage"]["tokens_24h"]), (before, &json!(3)));
    log.pass_hours(26);
    log.push("usage.llm", &call("4"));
    assert!(log.state.logged_at() > before);
    assert_eq!(log.item("agent:a")["usage"]["tokens_24h"], 1, "and they leave together");
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn when_the_logs_clock_jumps_ahead_what_is_due_goes_as_if_the_time_had_passed() {
    let mut log = Log::new();
    log.push("node.metrics.gpu-1", &json!({"cpu": 0.5}));
    log.push("agent.event.created", &json!({"agent_id": "agent:real"}));
    log.pass_hours(24 * 365);
    log.push("strange", &json!({}));
    // its time does not run back with the clock
    log.pass_hours(-24 * 365);
    log.push("strange", &json!({}));
    assert_eq!(log.item("node:gpu-1")["status"], "offline");
    log.push("node.metrics.gpu-1", &json!({"cpu": 0.5}));
    assert_eq!(log.item("node:gpu-1")["status"], "online", "what shows itself again is online again");
    assert_eq!(log.ids(), ["agent:real", "node:gpu-1"]);
    assert_eq!(log.client, layers_of(&log.state));
}
