//! Six services on loopback ports, with the interfaces of the real ones.

use std::io;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Fault, Faults, SharedState};
use crate::adapters::{Endpoint, Endpoints, Secret};
use crate::model::Service;

mod agents;
mod city;
mod dao;
mod microdao;
mod space;
mod usage;

/// Token of the services that require one.
const TOKEN: &str = "demo-token";

/// Delay of a slow service.
const SLOW_DELAY: Duration = Duration::from_secs(30);

/// Starts the six services; they run in `tasks` until `stop`.
pub(super) async fn start(
    state: &SharedState,
    faults: &Faults,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> io::Result<Endpoints> {
    let mut endpoints = Endpoints::default();
    for &service in Service::ALL {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let token = needs_token(service).then(|| Secret::new(TOKEN));
        let url = format!("http://{}", listener.local_addr()?);
        endpoints.set(service, Endpoint::new(&url, token).map_err(io::Error::other)?);
        let router = router(service, state.clone(), faults.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            let stopped = stop.clone().cancelled_owned();
            // does not wait for slow responses at the end
            let served =
                stop.run_until_cancelled(axum::serve(listener, router).with_graceful_shutdown(stopped).into_future());
            if let Some(Err(error)) = served.await {
                tracing::error!(%service, %error, "a simulated service failed");
            }
        });
    }
    Ok(endpoints)
}

const fn needs_token(service: Service) -> bool {
    matches!(service, Service::Microdao | Service::Dao)
}

fn router(service: Service, state: SharedState, faults: Faults) -> Router {
    let routes = match service {
        Service::Agents => agents::routes(),
        Service::Microdao => microdao::routes(),
        Service::Dao => dao::routes(),
        Service::Usage => usage::routes(),
        Service::City => city::routes(),
        Service::Space => space::routes(),
    };
    let routes = routes.fallback(|| async { error_response(StatusCode::NOT_FOUND, "Not Found") }).with_state(state);
    let routes = if needs_token(service) { routes.layer(middleware::from_fn(check_token)) } else { routes };
    routes.layer(middleware::from_fn_with_state((service, faults), inject_fault))
}

/// An error response in the services' format.
fn error_response(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({"detail": detail}))).into_response()
}

async fn check_token(request: Request, next: Next) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match authorization.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(TOKEN) => next.run(request).await,
        Some(_) => error_response(StatusCode::UNAUTHORIZED, "Invalid or expired token"),
        None => error_response(StatusCode::UNAUTHORIZED, "Missing or invalid authorization header"),
    }
}

async fn inject_fault(State((service, faults)): State<(Service, Faults)>, request: Request, next: Next) -> Response {
    match faults.get(service) {
        None => next.run(request).await,
        Some(Fault::Slow) => {
            tokio::time::sleep(SLOW_DELAY).await;
            next.run(request).await
        }
        Some(Fault::Down) => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error").into_response(),
        Some(Fault::Garbage) => {
            ([(header::CONTENT_TYPE, "application/json")], "[{\"id\": \"agent:so\u{0}<html>").into_response()
        }
    }
}
