use axum::body::to_bytes;

use super::*;
use crate::history::HistoryError;

async fn body(response: Response) -> Value {
    serde_json::from_slice(&to_bytes(response.into_body(), 10_000).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_problem_names_the_parameter() {
    let problem = Problem::bad_request("limit", "expected a whole number").with("oldest_cursor", "1.1".into());
    let response = problem.into_response();
    assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
    let expected = serde_json::json!({
        "type": "about:blank", "title": "Bad Request", "status": 400,
        "detail": "limit: expected a whole number", "parameter": "limit", "oldest_cursor": "1.1",
    });
    assert_eq!(body(response).await, expected);
}

#[tokio::test]
async fn the_cause_is_not_in_the_response() {
    let rejected = HistoryError::Rejected(sqlx::Error::Protocol("secret table".into()));
    let problem = Problem::from(rejected);
    assert!(problem.logged_cause().is_some_and(|cause| cause.contains("secret table")));
    let response = problem.into_response();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body(response).await.to_string().contains("secret"));
}

#[tokio::test]
async fn a_slow_query_gets_advice() {
    let problem = Problem::from(HistoryError::TooSlow(sqlx::Error::PoolTimedOut));
    assert_eq!(problem.failed_dependency(), None);
    let response = problem.into_response();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(body(response).await["detail"].as_str().unwrap().contains("'since'"));
}

#[test]
fn an_unavailable_dependency_sets_retry_after() {
    let unavailable = || HistoryError::Unavailable(sqlx::Error::PoolTimedOut);
    let response = Problem::from(unavailable()).into_response();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], "5");
    let later = Problem::from(unavailable()).retry_after(Duration::from_secs(30)).into_response();
    assert_eq!(later.headers()[header::RETRY_AFTER], "30");
}
