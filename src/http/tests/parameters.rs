//! Unknown query parameters, on every route of the document.

use futures::StreamExt;

use super::*;

/// A request for an operation of the document, with placeholders filled in.
async fn ask(router: &Router, method: &str, path: &str, query: &str) -> Answer {
    let uri = format!("{}?{query}", path.replace("{id}", "x").replace("{key}", "x"));
    let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, 64 * 1024 * 1024).await.unwrap().to_vec();
    Answer { status: head.status, headers: head.headers, body }
}

fn is_unknown(answer: &Answer) -> bool {
    answer.json()["detail"].as_str().is_some_and(|detail| detail.contains("unknown parameter"))
}

#[tokio::test]
async fn unknown_parameters_were_ignored_on_every_route() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    // without a complete map, so that no stream is endless
    let router = router(AppState::from(services())).unwrap();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let checked = path.starts_with("/living-map/");
            let answer = ask(&router, &method, path, "nonsense=1").await;
            assert_eq!(is_unknown(&answer), checked, "{method} {path}: {}", answer.json());
            if checked {
                assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (400, &json!("nonsense")));
                assert!(operation["responses"]["400"].is_object(), "{method} {path} does not document the answer");
            }
            let ignored = ask(&router, &method, path, "_=1&v=2&t=3&utm_source=x&utm_campaign=y&&").await;
            assert!(!is_unknown(&ignored), "{method} {path}: {}", ignored.json());
            for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query")
            {
                let query = format!("{}=", parameter["name"].as_str().unwrap());
                let answer = ask(&router, &method, path, &query).await;
                assert!(!is_unknown(&answer), "{method} {path}?{query}: {}", answer.json());
            }
            operations += 1;
        }
    }
    assert!(operations > 35, "{operations}");
}

#[tokio::test]
async fn an_unknown_parameter_is_answered_with_the_nearest() {
    for (uri, parameter, nearest) in [
        ("/living-map/history?source=x", "source", "'source_service'"),
        ("/living-map/history?Limit=1", "Limit", "'limit'"),
        ("/living-map/history?limit=1&entity=x", "entity", "'entity_"),
        ("/living-map/history?=x", "", "unknown parameter"),
        ("/living-map/history?%6cimit%73=1", "limits", "'limit'"),
        ("/living-map/entities?layers=city", "layers", "'layer'"),
        ("/living-map/snapshot?layer=city", "layer", "'layers'"),
        ("/living-map/stream?layer=city", "layer", "'layers'"),
        ("/living-map/events/stream?last_event_id=7.1", "last_event_id", "'last"),
        ("/living-map/errors?buckets=x", "buckets", "'bucket'"),
        ("/living-map/health?verbose", "verbose", "none"),
    ] {
        let answer = get(uri).await;
        let problem = answer.problem();
        assert_eq!((answer.status.as_u16(), &problem["parameter"]), (400, &json!(parameter)), "{uri}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(nearest), "{uri}: {problem}");
    }
    for uri in
        ["/?source=x", "/assets/none.js?source=x", "/docs/?source=x", "/openapi.json?source=x", "/metrics?source=x"]
    {
        assert!(!is_unknown(&get(uri).await), "{uri}");
    }
    let head = Request::head("/living-map/history?source=x").body(Body::empty()).unwrap();
    assert_eq!(call_with(services(), head).await.status, 400);
    let absent = get("/living-map/nothing?source=x").await;
    assert_eq!(absent.status, 404);
}

#[tokio::test]
async fn synonyms_of_parameters_are_read() {
    let services = services();
    services.journal.record("read", "agents", "list", &"away");
    services.journal.record("read", "dao", "list", &"away");
    let router = router(AppState::from(services)).unwrap();
    for query in ["target=dao", "bucket=dao"] {
        let items = ask(&router, "GET", "/living-map/errors", query).await.json()["items"].take();
        assert_eq!((items.as_array().unwrap().len(), &items[0]["target"]), (1, &json!("dao")), "{query}: {items}");
    }
    let both = ask(&router, "GET", "/living-map/errors", "target=dao&bucket=agents").await;
    assert_eq!((both.status.as_u16(), &both.problem()["parameter"]), (400, &json!("bucket")));
    let invalid = get("/living-map/events/stream?lastEventId=latest").await;
    assert_eq!(invalid.problem()["parameter"], "lastEventId");
}

#[tokio::test]
async fn an_unknown_parameter_is_answered_before_the_upgrade() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(services_with_map().await.into()).unwrap();
    let thread = AcceptThread::start().unwrap();
    tokio::spawn(async move {
        serve(&thread, listener, router, &HttpConfig::default(), CancellationToken::new()).await;
    });
    let url = |query: &str| format!("ws://{address}/living-map/stream?{query}");
    match tokio_tungstenite::connect_async(url("layer=city")).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
            assert_eq!(answer.status(), 400);
            let problem: Value = serde_json::from_slice(answer.body().as_deref().unwrap_or_default()).unwrap();
            assert_eq!(problem["parameter"], "layer");
        }
        other => panic!("{other:?}"),
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(url("layers=city&lastEventId=&v=3")).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().is_text());
}
