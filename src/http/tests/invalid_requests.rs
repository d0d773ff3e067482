//! Responses to invalid requests.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn an_invalid_query_names_its_parameter() {
    for (uri, parameter) in [
        ("/living-map/entities?type=daos", "type"),
        ("/living-map/entities?layer=moon", "layer"),
        ("/living-map/entities?status=fine", "status"),
        ("/living-map/entities?limit=0", "limit"),
        ("/living-map/entities?limit=501", "limit"),
        ("/living-map/entities?limit=1e2", "limit"),
        ("/living-map/entities?limit=99999999999999999999999", "limit"),
        ("/living-map/entities?cursor=%21", "cursor"),
        ("/living-map/entities?q=%ff", "q"),
        ("/living-map/entities?q=%00", "q"),
        ("/living-map/entities?type=agent&type=node", "type"),
        ("/living-map/entities/%ff", "id"),
        ("/living-map/entities/a%00b", "id"),
        ("/living-map/entities/%00/relations", "id"),
        ("/living-map/history?since=soon", "since"),
        ("/living-map/history?since=2026-02-01&until=2026-01-01", "since"),
        ("/living-map/history?event_type=a..b", "event_type"),
        ("/living-map/history?offset=100001", "offset"),
        ("/living-map/history?cursor=x", "cursor"),
        ("/living-map/snapshot?layers=moon", "layers"),
        ("/living-map/snapshot?fresh=maybe", "fresh"),
    ] {
        let answer = get(uri).await;
        let problem = answer.problem();
        assert_eq!((answer.status.as_u16(), &problem["parameter"]), (400, &json!(parameter)), "{uri}: {problem}");
        assert_eq!(problem["instance"], uri.split('?').next().unwrap());
    }
}

#[tokio::test]
async fn a_file_name_that_is_not_utf8_is_rejected() {
    for uri in ["/assets/%ff", "/docs/%ff"] {
        let answer = get(uri).await;
        assert_eq!(answer.status, 400, "{uri}");
        answer.problem();
    }
}

#[tokio::test]
async fn values_and_uris_that_are_too_long_are_rejected() {
    let answer = get(&format!("/living-map/entities?q={}", "x".repeat(201))).await;
    assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (400, &json!("q")));
    let answer = get(&format!("/living-map/entities/{}", "x".repeat(600))).await;
    assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (400, &json!("id")));
    let answer = get(&format!("/living-map/entities?q={}", "x".repeat(10_000))).await;
    assert_eq!(answer.status, 414);
    answer.problem();
}

#[tokio::test]
async fn unknown_paths_and_methods_return_problems() {
    let answer = get("/living-map/nothing").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.problem()["instance"], "/living-map/nothing");
    for path in ["/assets/none.js", "/docs/none.js", "/assets/..%2f..%2fCargo.toml", "/assets/../Cargo.toml"] {
        let answer = get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.problem();
    }
    let delete = Request::delete("/living-map/snapshot").body(Body::empty()).unwrap();
    let answer = call_with(services(), delete).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.headers["allow"], "GET,HEAD");
    answer.problem();
}

#[tokio::test]
async fn invalid_bodies_are_rejected_with_a_reason() {
    let deep = format!(r#"{{"event_type":"a.b","payload":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for (body, status) in [
        (&b""[..], 400),
        (b"{", 400),
        (b"[]", 400),
        (b"{\"event_type\":\"a.b\",}", 400),
        (b"\x1f\x8b\x08", 400),
        (deep.as_bytes(), 400),
        ("[".repeat(100_000).as_bytes(), 400),
        (" ".repeat(1024 * 1024 + 1).as_bytes(), 413),
        (b"7", 422),
        (b"null", 422),
        (b"[null, 7, \"x\", []]", 422),
        (b"{}", 422),
        (b"{\"event_type\":7}", 422),
        (b"{\"event_type\":\"living_map.sync.agents\"}", 422),
    ] {
        let answer = post(body.to_vec()).await;
        assert_eq!(answer.status, status, "{}", body[..body.len().min(60)].escape_ascii());
        answer.problem();
    }
    let too_many = post(format!("[{}]", vec!["{}"; 1_001].join(","))).await;
    assert_eq!(too_many.status, 413);
    let malformed = post("{\n\"a\": }").await;
    assert!(malformed.problem()["detail"].as_str().unwrap().contains("at byte 7"));
    let all_rejected = post(r#"[{"event_type":"a.*"},{}]"#).await.problem();
    assert_eq!(
        all_rejected["results"][1],
        json!({
            "index": 1, "status": "rejected", "id": null, "cursor": null,
            "error": "event_type: is required", "field": "event_type",
        })
    );
    let form = Request::post("/living-map/events").header("content-type", "text/plain").body(Body::from("{}")).unwrap();
    let answer = call_with(services(), form).await;
    assert_eq!((answer.status.as_u16(), &answer.problem()["parameter"]), (415, &json!("Content-Type")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_input_never_causes_a_5xx(
        query in "(since|until|limit|offset|cursor|event_type|entity_type|source_service)=[ -~]{0,20}",
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let query: String = query.chars().map(|c| if c.is_ascii_alphanumeric() || "=_%&+".contains(c) { c } else { '.' }).collect();
        let answer = runtime.block_on(get(&format!("/living-map/history?{query}")));
        prop_assert!(answer.status.as_u16() < 500, "{query}: {}", answer.status);
        let answer = runtime.block_on(post(body));
        prop_assert!(answer.status.is_client_error(), "{}", answer.status);
    }
}
