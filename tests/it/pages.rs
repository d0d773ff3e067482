//! Pages of lists that end at `MAX_PAGE_BYTES`, over HTTP.

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::support::postgres;
use crate::support::process::Process;
use crate::support::wait::until;

const ORIGIN: &str = "https://map.example.org";

/// Ways to the next page.
#[derive(Debug, Clone, Copy)]
enum Way {
    Cursor,
    NextOffset,
    /// The number of items received.
    Received,
}

struct Api {
    server: Process,
    client: Client,
}

impl Api {
    /// A server with pages of `max_page_bytes`, and its tables in `database`.
    async fn start(max_page_bytes: usize, database: Option<&str>) -> Self {
        let bytes = max_page_bytes.to_string();
        let mut environment = vec![("MAX_PAGE_BYTES", bytes.as_str()), ("ALLOWED_ORIGINS", ORIGIN)];
        environment.extend(database.map(|url| ("DATABASE_URL", url)));
        Self { server: Process::serve(&environment).await, client: Client::new() }
    }

    async fn publish(&self, events: &[Value]) {
        for events in events.chunks(5) {
            let answer = self.client.post(self.server.url("/living-map/events")).json(events).send().await.unwrap();
            let answer: Value = answer.json().await.unwrap();
            for result in answer["results"].as_array().unwrap() {
                assert_eq!(result["status"], "accepted", "{result}");
            }
        }
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.server.url(path)).header("origin", ORIGIN).send().await.unwrap()
    }

    /// The ids of all items of a list, by page.
    async fn follow(&self, list: &str, way: Way) -> Vec<Vec<String>> {
        let separator = if list.contains('?') { '&' } else { '?' };
        let (mut pages, mut path, mut received) = (Vec::<Vec<String>>::new(), list.to_owned(), 0);
        loop {
            let response = self.get(&path).await;
            assert_eq!(response.status(), 200, "{path}");
            let is_cut = response.headers().get("x-living-map-cut").is_some_and(|value| value == "true");
            let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
            assert!(exposed.contains("x-living-map-cut"), "{exposed}");
            let page: Value = response.json().await.unwrap();
            assert_eq!(is_cut, page["has_more"] == true, "{path}: no page has `limit` items");
            let items = page["items"].as_array().unwrap();
            received += items.len();
            pages.push(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect());
            let start = match way {
                Way::Cursor => page["next_cursor"].as_str().map(|cursor| format!("cursor={cursor}")),
                Way::NextOffset => page["next_offset"].as_u64().map(|offset| format!("offset={offset}")),
                Way::Received => page["has_more"].as_bool().unwrap().then(|| format!("offset={received}")),
            };
            assert_eq!(start.is_some(), page["has_more"] == true, "{path} {way:?}");
            let Some(start) = start else { return pages };
            path = format!("{list}{separator}{start}");
        }
    }

    /// Checks that all ways through a list find `ids`, on several pages.
    async fn check(&self, list: &str, ids: &[String]) {
        for way in [Way::Cursor, Way::NextOffset, Way::Received] {
            let pages = self.follow(list, way).await;
            assert!(pages.len() > 2, "{list}: {pages:?}");
            assert_eq!(pages.concat(), ids, "{list} {way:?}");
        }
    }
}

#[tokio::test]
async fn a_page_of_large_events_ends_at_its_bytes_sqlite() {
    a_page_of_large_events_ends_at_its_bytes(None).await;
}

#[tokio::test]
async fn a_page_of_large_events_ends_at_its_bytes_postgres() {
    a_page_of_large_events_ends_at_its_bytes(Some(&postgres::database().await)).await;
}

async fn a_page_of_large_events_ends_at_its_bytes(database: Option<&str>) {
    let api = Api::start(100_000, database).await;
    let event = |n: usize| {
        // escaped, a quote has two bytes
        let (small, large) = ("x".repeat(30_000), "\"".repeat(60_000));
        json!({"event_type": "audit.large", "event_id": format!("e{n}"), "source": "test",
            "timestamp": format!("2026-01-19T12:00:{n:02}Z"), "payload": if n.is_multiple_of(4) { large } else { small }})
    };
    api.publish(&(0..20).map(event).collect::<Vec<_>>()).await;
    let list = "/living-map/history?source_service=test&limit=1000";
    let all = until("all events to be recorded", || async {
        let all = api.follow(list, Way::Cursor).await.concat();
        (all.len() >= 20).then_some(all)
    })
    .await;
    let mut unique = all.clone();
    unique.sort();
    unique.dedup();
    assert_eq!((all.len(), unique.len()), (20, 20), "every event once");
    api.check(list, &all).await;
    let body = api.get(list).await.bytes().await.unwrap();
    assert!(body.len() < 101_000, "{} bytes", body.len());
    let page = api.get("/living-map/history?source_service=test&limit=1").await;
    assert!(!page.headers().contains_key("x-living-map-cut"), "the page has `limit` items");
    let metrics = api.get("/metrics").await.text().await.unwrap();
    assert!(!metrics.contains("living_map_http_pages_cut_total 0"), "{metrics}");
    assert!(metrics.contains("living_map_http_pages_cut_total "), "{metrics}");
}

#[tokio::test]
async fn pages_of_entities_and_alerts_end_at_their_bytes() {
    let api = Api::start(1_024, None).await;
    let agent = |n| {
        json!({"event_type": "agent.event.created",
            "payload": {"agent_id": format!("agent:a{n:02}"), "name": "Agent ".repeat(20)}})
    };
    let alert = |n| {
        json!({"event_type": "ops.alert.warning",
            "payload": {"alert_id": format!("alert-{n:02}"), "title": "Disk", "message": "full ".repeat(60)}})
    };
    api.publish(&(0..30).map(agent).chain((0..12).map(alert)).collect::<Vec<_>>()).await;
    let ids = |prefix: &str, count: usize| (0..count).map(|n| format!("{prefix}{n:02}")).collect::<Vec<String>>();
    until("the map to show the last event", || async {
        (api.follow("/living-map/alerts", Way::Cursor).await.concat().len() == 12).then_some(())
    })
    .await;
    api.check("/living-map/entities?type=agent&limit=500", &ids("agent:a", 30)).await;
    api.check("/living-map/alerts", &ids("alert-", 12)).await;
}
