//! The `OpenAPI` document and its explorer (Swagger UI), which loads nothing from other servers.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::docs::openapi_json;
use super::error::Problem;

/// Content security policy: Swagger UI sets styles on its elements and has images as `data:` URLs.
const CONTENT_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static OPENAPI: LazyLock<String> = LazyLock::new(openapi_json);

static EXPLORER: LazyLock<Arc<Config<'static>>> =
    // "none": no requests to a validator on the internet
    LazyLock::new(|| Arc::new(Config::from("/openapi.json").validator_url("none").try_it_out_enabled(true)));

/// `GET /openapi.json`.
pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], OPENAPI.as_str())
}

/// `GET /docs`: redirects to `/docs/`, to which the explorer's relative URLs refer.
pub async fn redirect() -> Redirect {
    Redirect::permanent("/docs/")
}

/// `GET /docs/`.
pub async fn index() -> Result<Response, Problem> {
    file("index.html")
}

/// `GET /docs/{*path}`.
pub async fn asset(path: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    file(&path?.0)
}

fn file(path: &str) -> Result<Response, Problem> {
    let SwaggerFile { bytes, content_type, gzpipped: gzipped, .. } =
        utoipa_swagger_ui::serve(path, Arc::clone(&EXPLORER))
            .map_err(Problem::internal)?
            .ok_or_else(|| Problem::not_found("the explorer has no file with this name"))?;
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(&content_type).map_err(Problem::internal)?);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if gzipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
