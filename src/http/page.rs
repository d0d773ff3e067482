//! The web page, embedded in the binary. `make web` builds it; a binary without it serves build instructions instead.
//! Debug builds read the files from the source tree, so that a new build of the page shows at the next reload.

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

/// Content security policy: no resources of other origins, no inline code, no framing.
const CONTENT_POLICY: &str = "default-src 'self'; connect-src 'self'; img-src 'self' data:; object-src 'none'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `Cache-Control` of files with a stable name: revalidate at each use.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
/// `Cache-Control` of files whose name contains a hash of their content, so that they never change.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Instructions for building the page, for binaries without it.
const UNBUILT: &str = include_str!("page/unbuilt.html");

#[derive(Embed)]
#[folder = "web/app/dist"]
#[allow_missing = true]
struct PageFiles;

/// `GET /` for browsers.
pub fn index(request: &HeaderMap) -> Result<Response, Problem> {
    let mut response = match PageFiles::get("index.html") {
        Some(page) => file(page, "index.html", request, REVALIDATE)?,
        None => ([(header::CONTENT_TYPE, "text/html")], UNBUILT).into_response(),
    };
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    Ok(response)
}

/// A content coding of a file. The build compresses each file in advance, with the highest level.
#[derive(Debug, Clone, Copy)]
struct Precompressed {
    /// Name in `Content-Encoding`.
    coding: &'static str,
    /// Suffix of the file's name.
    suffix: &'static str,
}

/// Codings in descsuffix order of size.
const CODINGS: [(&[&str], Precompressed); 3] = [
    (&["identity"], Precompressed { coding: "identity", suffix: "" }),
    (&["gzip", "x-gzip"], Precompressed { coding: "gzip", suffix: ".gz" }),
    (&["br"], Precompressed { coding: "br", suffix: ".br" }),
];

/// `GET /assets/{*path}`: files that the page loads.
pub async fn asset(path: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, Problem> {
    let path = path?.0;
    let name = format!("assets/{path}");
    let caching = if has_content_hash(&path) { IMMUTABLE } else { REVALIDATE };
    let variant = negotiate::best(&headers, CODINGS).filter(|variant| !variant.suffix.is_empty());
    let found = variant.and_then(|variant| Some((variant, PageFiles::get(&format!("{name}{}", variant.suffix))?)));
    let Some((variant, compressed)) = found else {
        let plain =
            PageFiles::get(&name).ok_or_else(|| Problem::not_found("the web page has no file with this name"))?;
        return file(plain, &name, &headers, caching);
    };
    let mut response = file(compressed, &name, &headers, caching)?;
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // a 304 has no body
    if response.status() == StatusCode::OK {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(variant.coding));
    }
    Ok(response)
}

/// Whether a name contains a hash of the content, as the bundler adds it: `index-3H1q9wZo.js`.
fn has_content_hash(path: &str) -> bool {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    stem.len() > 9 && stem.as_bytes()[stem.len() - 9] == b'-'
}

/// Response with a file. `name` is that of the uncompressed file, which determines the content type.
fn file(file: EmbeddedFile, name: &str, request: &HeaderMap, caching: HeaderValue) -> Result<Response, Problem> {
    let EmbeddedFile { data, metadata } = file;
    // weak: the file may be sent with any coding
    let etag = format!("W/\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&metadata.sha256_hash()[..16]));
    let mut response = if negotiate::not_modified(request, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mime = mime_guess::from_path(name).first_or_octet_stream();
        ([(header::CONTENT_TYPE, mime.essence_str())], Body::from(data)).into_response()
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
    fn only_names_with_a_content_hash_are_immutable() {
        assert!(has_content_hash("index-3H1q9wZo.js"));
        assert!(has_content_hash("vendor-Dmt_Xh-I.js"));
        for name in ["icon.svg", "", ".js", "a-b.js", "a-much-longer.js", "-1234567.js"] {
            assert!(!has_content_hash(name), "{name}");
        }
    }

    #[test]
    fn a_binary_without_the_page_has_build_instructions() {
        assert!(UNBUILT.contains("make web"));
        assert!(
            !UNBUILT.contains("<script") && !UNBUILT.contains("style="),
            "the content security policy would block it"
        );
    }
}
