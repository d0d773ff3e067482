//! The map's page, embedded in the binary. It is made by `make web`; a binary built without it says so in its place.
//! (A debug build reads the files from the source tree, so that a page made later shows at the next reload.)

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

/// The page's address, which stays, while what is behind it changes.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
/// The bundler names files after their contents, so what is behind such a name never changes.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// How to get the page, for binaries built without it.
const UNBUILT: &str = include_str!("page/unbuilt.html");

#[derive(Embed)]
#[folder = "web/app/dist"]
#[allow_missing = true]
struct Files;

/// The page itself.
pub fn index(request: &HeaderMap) -> Result<Response, Problem> {
    let mut response = match Files::get("index.html") {
        Some(page) => file(page, "index.html", request, ASK_AGAIN)?,
        None => ([(header::CONTENT_TYPE, "text/html")], UNBUILT).into_response(),
    };
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    Ok(response)
}

/// A form of a file that the build makes beside it, once and for all clients, so as small as can be.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// What it is called in headers.
    coding: &'static str,
    /// What the name of the file has at its end.
    ending: &'static str,
}

/// The smaller, the later.
const FORMS: [(&[&str], Form); 3] = [
    (&["identity"], Form { coding: "identity", ending: "" }),
    (&["gzip", "x-gzip"], Form { coding: "gzip", ending: ".gz" }),
    (&["br"], Form { coding: "br", ending: ".br" }),
];

/// `GET /assets/{*path}`: what the page loads.
pub async fn asset(path: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, Problem> {
    let path = path?.0;
    let name = format!("assets/{path}");
    let caching = if is_named_by_content(&path) { KEEP } else { ASK_AGAIN };
    let form = negotiate::best(&headers, FORMS).filter(|form| !form.ending.is_empty());
    let packed = form.and_then(|form| Some((form, Files::get(&format!("{name}{}", form.ending))?)));
    let Some((form, packed)) = packed else {
        let plain = Files::get(&name).ok_or_else(|| Problem::not_found("the page has no file of this name"))?;
        return file(plain, &name, &headers, caching);
    };
    let mut response = file(packed, &name, &headers, caching)?;
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // an answer without a body has none to encode
    if response.status() == StatusCode::OK {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(form.coding));
    }
    Ok(response)
}

/// Whether a name ends as the bundler ends them: `index-3H1q9wZo.js`.
fn is_named_by_content(path: &str) -> bool {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    stem.len() > 9 && stem.as_bytes()[stem.len() - 9] == b'-'
}

/// `name` is the plain file's, which says of what type it is in every form.
fn file(file: EmbeddedFile, name: &str, request: &HeaderMap, caching: HeaderValue) -> Result<Response, Problem> {
    let EmbeddedFile { data, metadata } = file;
    // weak: the same file may go out compressed or not
    let etag = format!("W/\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&metadata.sha256_hash()[..16]));
    let mut response = if negotiate::has_already(request, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mime = mime_guess::from_path(name).first_or_octet_stream();
        ([(header::CONTENT_TYPE, mime.essence_str())], Body::from(data.into_owned())).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, HeaderValue::from_str(&etag).map_err(Problem::internal)?);
    headers.insert(header::CACHE_CONTROL, caching);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_made_of_contents_are_kept_for_good() {
        assert!(is_named_by_content("index-3H1q9wZo.js"));
        assert!(is_named_by_content("vendor-Dmt_Xh-I.js"));
        for name in ["icon.svg", "", ".js", "a-b.js", "a-much-longer.js", "-1234567.js"] {
            assert!(!is_named_by_content(name), "{name}");
        }
    }

    #[test]
    fn a_binary_without_the_page_says_how_to_make_it() {
        assert!(UNBUILT.contains("make web"));
        assert!(!UNBUILT.contains("<script") && !UNBUILT.contains("style="), "the policy would refuse it");
    }
}
