//! The `OpenAPI` document and its explorer (Swagger UI), which loads nothing from other servers.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use axum::Extension;
use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::docs::{ROOT, openapi_json};
use super::error::Problem;
use crate::access::base_path::BasePath;

/// Content security policy: Swagger UI sets styles on its elements and has images as `data:` URLs.
const CONTENT_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static OPENAPI: LazyLock<String> = LazyLock::new(openapi_json);

static EXPLORER: LazyLock<Arc<Config<'static>>> =
    // "none": no requests to a validator on the internet
    // the document's address is relative, since a proxy may serve the explorer under a path
    LazyLock::new(|| Arc::new(Config::from("../openapi.json").validator_url("none").try_it_out_enabled(true)));

/// `GET /openapi.json`, with the path under which the client sees this server.
pub async fn openapi(Extension(base): Extension<BasePath>) -> impl IntoResponse {
    let document = match base.as_str() {
        "" => Cow::Borrowed(OPENAPI.as_str()),
        base => Cow::Owned(OPENAPI.replacen(&server(ROOT), &server(base), 1)),
    };
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], document)
}

/// The address of a server in the document. A base path has no character that JSON would escape.
fn server(url: &str) -> String {
    format!(r#""url": "{url}""#)
}

/// `GET /docs`: redirects to `/docs/`, to which the explorer's relative URLs refer. The redirect is relative, too.
pub async fn redirect() -> Redirect {
    Redirect::permanent("docs/")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_one_server() {
        assert_eq!(OPENAPI.matches(&server(ROOT)).count(), 1);
    }
}
