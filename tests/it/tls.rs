//! Private certificate authorities: each client of the server against a server with TLS, with and without its setting.

use std::fs;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::IntoResponse;
use reqwest::Client;
use serde_json::Value;

use super::access::Issuer;
use super::adapters::upstream::Upstream;
use super::support::daemon::Folder;
use super::support::otlp::Collector;
use super::support::postgres::Postgres;
use super::support::process::{Process, run};
use super::support::receiver::{Receiver, secret};
use super::support::tls::{Authority, TlsProxy};
use super::support::wait::until;

async fn get(server: &Process, path: &str) -> Option<Value> {
    reqwest::get(server.url(path)).await.ok()?.json().await.ok()
}

/// Waits until the log of a server that does not trust a certificate names the setting.
async fn explains(server: &Process, setting: &str) {
    until(&format!("{setting} in the log"), || async {
        let output = server.output();
        (output.contains("UnknownIssuer") && output.contains(setting)).then_some(())
    })
    .await;
    assert!(
        !server.output().contains("rustls_platform_verifier"),
        "each attempt was logged by a library, without the setting"
    );
}

/// A server ended with "No CA certificates were loaded from the system", or began and trusted no certificate.
#[tokio::test]
async fn system_authorities_that_cannot_be_read_are_named() {
    for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        for command in [&["config", "check"][..], &["serve"]] {
            let (good, said) = run(command, &[(variable, "/nowhere"), ("PORT", "0")]).await;
            assert!(!good && said.contains(&format!("{variable}: /nowhere cannot be read")), "{said}");
        }
    }
    // one folder of several is enough
    let (valid, said) = run(&["config", "check"], &[("SSL_CERT_DIR", "/nowhere:/")]).await;
    assert!(valid, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_with_a_private_authority() {
    let (authority, upstream) = (Authority::new(), Upstream::fixed(200, "[]").await);
    let (url, file) = (TlsProxy::to_url(&upstream.url, &authority.server()).await, authority.file());
    let environment = [("AGENTS_SERVICE_URL", url.as_str()), ("SYNC_INTERVAL_SECONDS", "0.2")];
    let server = Process::serve(&environment).await;
    until("an error that names the setting", || async {
        let errors = get(&server, "/living-map/errors?target=agents").await?;
        errors["items"][0]["error"].as_str()?.contains("UPSTREAM_CA_FILE").then_some(())
    })
    .await;
    assert!(upstream.requests().is_empty());
    let _trusting = Process::serve(&[&environment[..], &[("UPSTREAM_CA_FILE", &file)]].concat()).await;
    until("a request", async || (!upstream.requests().is_empty()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_issuer_with_a_private_authority() {
    let (authority, issuer) = (Authority::new(), Issuer::start().await);
    let (token, file) = (issuer.rotate("first"), authority.file());
    let url = TlsProxy::to_url(&issuer.url, &authority.server()).await;
    let environment = [("AUTH", "jwt"), ("JWT_JWKS", url.as_str()), ("JWT_JWKS_REFRESH_SECONDS", "1")];
    let server = Process::serve(&environment).await;
    explains(&server, "JWT_JWKS_CA_FILE").await;
    let server = Process::serve(&[&environment[..], &[("JWT_JWKS_CA_FILE", &file)]].concat()).await;
    until("the key", || async {
        let request = Client::new().get(server.url("/living-map/errors")).bearer_auth(&token);
        request.send().await.ok()?.error_for_status().ok().map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_with_a_private_authority() {
    let (authority, receiver, folder) = (Authority::new(), Receiver::start().await, Folder::new("webhook"));
    let url = TlsProxy::to_url(&receiver.url, &authority.server()).await;
    let (rules, key, file) = (folder.path().join("alerts.toml"), folder.path().join("secret"), authority.file());
    fs::write(&key, secret()).unwrap();
    let text = format!("[[webhook]]\nname = \"ops\"\nurl = \"{url}\"\nsecret_file = \"{}\"\n", key.display());
    fs::write(&rules, text).unwrap();
    let rules = rules.display().to_string();
    let command = ["alerts", "test", "ops", &rules];
    let (sent, said) = run(&command, &[]).await;
    assert!(!sent && said.contains("WEBHOOK_CA_FILE"), "{said}");
    let (sent, said) = run(&command, &[("WEBHOOK_CA_FILE", "/nowhere.pem")]).await;
    assert!(!sent && said.contains("WEBHOOK_CA_FILE: /nowhere.pem cannot be read"), "{said}");
    // the second variable has the authorities of all HTTP clients, in place of the system's
    for setting in ["WEBHOOK_CA_FILE", "SSL_CERT_FILE"] {
        let (sent, said) = run(&command, &[(setting, &file)]).await;
        assert!(sent, "{setting}: {said}");
    }
    assert_eq!(receiver.got().len(), 2);
}

/// The part of S3 that a write needs.
async fn bucket() -> (String, Arc<Mutex<Vec<String>>>) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&written);
    let handler = move |request: Request| async move {
        if request.method() == Method::PUT {
            recorded.lock().unwrap().push(request.uri().path().to_owned());
            return [(header::ETAG, "\"1\"")].into_response();
        }
        "<ListBucketResult></ListBucketResult>".into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });
    (url, written)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_with_a_private_authority() {
    let (authority, (url, written)) = (Authority::new(), bucket().await);
    let (url, file) = (TlsProxy::to_url(&url, &authority.server()).await, authority.file());
    let environment = [
        ("JOURNAL_URL", "s3://errors/map"),
        ("JOURNAL_FLUSH_SECONDS", "0.1"),
        ("AWS_ENDPOINT", &url),
        ("AWS_REGION", "eu"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AGENTS_SERVICE_URL", "http://127.0.0.1:9"),
    ];
    let server = Process::serve(&environment).await;
    let error = until("the journal's error", || async {
        get(&server, "/living-map/ready").await?["checks"]["journal"]["error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(error.contains("JOURNAL_CA_FILE") && !error.contains("hunter2"), "{error}");
    assert!(written.lock().unwrap().is_empty());
    let _trusting = Process::serve(&[&environment[..], &[("JOURNAL_CA_FILE", &file)]].concat()).await;
    let path = until("a file", async || written.lock().unwrap().first().cloned()).await;
    assert!(path.starts_with("/errors/map/_errors/"), "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_receiver_with_a_private_authority() {
    let (authority, collector) = (Authority::new(), Collector::start().await);
    let (url, file) = (TlsProxy::to_url(&collector.url(), &authority.server()).await, authority.file());
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let server = Process::serve(&environment).await;
    explains(&server, "OTEL_EXPORTER_OTLP_CERTIFICATE").await;
    assert!(collector.spans().is_empty());
    let _trusting = Process::serve(&[&environment[..], &[("OTEL_EXPORTER_OTLP_CERTIFICATE", &file)]].concat()).await;
    until("a span", async || (!collector.spans().is_empty()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_a_private_authority() {
    let authority = Authority::new();
    let (postgres, file) = (Postgres::start_with_tls(&authority.server()).await, authority.file());
    let url = postgres.url().replace("sslmode=disable", "sslmode=verify-full");
    // of the same name, with another key
    let stranger = Authority::new();
    let other = format!("{url}&sslrootcert={}", stranger.file());
    for (url, setting) in [(&url, "SSL_CERT_FILE"), (&other, "sslrootcert")] {
        let (started, said) = run(&["serve"], &[("DATABASE_URL", url), ("PORT", "0")]).await;
        assert!(!started && said.contains("invalid peer certificate") && said.contains(setting), "{said}");
    }
    let missing = format!("{url}&sslrootcert=/nowhere.pem");
    let (valid, said) = run(&["config", "check"], &[("DATABASE_URL", &missing)]).await;
    assert!(!valid && said.contains("sslrootcert: /nowhere.pem cannot be read"), "{said}");

    let own = format!("{url}&sslrootcert={file}");
    // one's own authorities count, and not the system's
    let (elsewhere, url) = (stranger.file(), url.as_str());
    let cases = [
        [("DATABASE_URL", own.as_str()), ("SSL_CERT_FILE", elsewhere.as_str())],
        [("DATABASE_URL", url), ("PGSSLROOTCERT", &file)],
        [("DATABASE_URL", url), ("SSL_CERT_FILE", &file)],
    ];
    for environment in cases {
        let server = Process::serve(&environment).await;
        let ready = get(&server, "/living-map/ready").await.unwrap();
        assert_eq!(ready["checks"]["history"]["status"], "ok", "{ready}");
    }
}
