//! The map's page, embedded in the binary. (A debug build reads the files from the source tree, so that an edit shows
//! at the next reload.)

use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rust_embed::{Embed, EmbeddedFile};

use super::error::Problem;
use super::negotiate;

/// Nothing from elsewhere, nothing inline, no framing.
const CONTENT_POLICY: &str = "default-src 'self'; connect-src 'self'; img-src 'self' data:; object-src 'none'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Embed)]
#[folder = "web/app/static"]
struct Files;

/// The page itself.
pub fn index(request: &HeaderMap) -> Result<Response, Problem> {
    let mut response = file("index.html", request)?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    Ok(response)
}

/// `GET /assets/{*path}`: what the page loads.
pub async fn asset(path: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, Problem> {
    file(&path?.0, &headers)
}

fn file(path: &str, request: &HeaderMap) -> Result<Response, Problem> {
    let EmbeddedFile { data, metadata } =
        Files::get(path).ok_or_else(|| Problem::not_found("the page has no file of this name"))?;
    // weak: the same file may go out compressed or not
    let etag = format!("W/\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&metadata.sha256_hash()[..16]));
    let mut response = if negotiate::has_already(request, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mime = HeaderValue::from_str(metadata.mimetype()).map_err(Problem::internal)?;
        ([(header::CONTENT_TYPE, mime)], Body::from(data.into_owned())).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, HeaderValue::from_str(&etag).map_err(Problem::internal)?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
