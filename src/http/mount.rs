//! Serving the routes below a path.

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};
use tower::{ServiceExt, service_fn};

use super::outer_layer::add_security_headers;
use crate::access::base_path::BasePath;

/// The router below `base`, for proxies that do not remove it; requests without it are passed on as they are.
pub fn mount(router: Router, base: BasePath) -> Router {
    if base.as_str().is_empty() {
        return router;
    }
    let service = service_fn(move |mut request: Request| {
        let router = router.clone();
        let redirect = remove(&base, request.uri_mut());
        async move {
            match redirect {
                Some(response) => Ok(response),
                None => router.oneshot(request).await,
            }
        }
    });
    Router::new().fallback_service(service)
}

/// Removes the prefix from the path of a request. The prefix itself is redirected to the path with a slash, to which the
/// page's relative addresses refer.
fn remove(base: &BasePath, uri: &mut Uri) -> Option<Response> {
    let whole = uri.path_and_query()?.as_str();
    let rest = base.strip(whole)?;
    if !rest.starts_with('/') {
        let segment = base.as_str().rsplit('/').next().unwrap_or_default();
        let mut response = Redirect::permanent(&format!("{segment}/{rest}")).into_response();
        add_security_headers(response.headers_mut());
        return Some(response);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = rest.parse().ok();
    // an address whose parts were valid, with another path, is valid
    if let Ok(stripped) = Uri::from_parts(parts) {
        *uri = stripped;
    }
    None
}

#[cfg(test)]
mod tests {
    use axum::http::header::LOCATION;

    use super::*;

    #[test]
    fn the_prefix_is_removed_once_where_it_is() {
        let base: BasePath = "/a/map".parse().unwrap();
        let removed = |uri: &str| {
            let mut uri: Uri = uri.parse().unwrap();
            let redirect = remove(&base, &mut uri);
            redirect
                .map_or_else(|| uri.to_string(), |response| response.headers()[LOCATION].to_str().unwrap().to_owned())
        };
        for (uri, expected) in [
            ("/a/map/", "/"),
            ("/a/map/living-map/entities/a%2Fb?x=%20", "/living-map/entities/a%2Fb?x=%20"),
            ("/a/map/a/map/x", "/a/map/x"),
            ("/living-map/health", "/living-map/health"),
            ("/a/mapping", "/a/mapping"),
            ("http://map.example/a/map/docs", "http://map.example/docs"),
            ("/a/map", "map/"),
            ("/a/map?layer=city", "map/?layer=city"),
        ] {
            assert_eq!(removed(uri), expected, "{uri}");
        }
    }
}
