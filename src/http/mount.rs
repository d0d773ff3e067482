//! Serving the routes below a path.

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};
use tower::{ServiceExt, service_fn};

use super::base_path::route_of;
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

/// Removes the prefix from the path of a request, unless that is the path of a route: below `/living-map` are routes with and
/// without the prefix. The prefix itself is redirected to the path with a slash, to which the
/// page's relative addresses refer.
fn remove(base: &BasePath, uri: &mut Uri) -> Option<Response> {
    let whole = uri.path_and_query()?.as_str();
    let rest = base.strip(whole).filter(|_| route_of(uri.path()).is_none())?;
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
    use crate::http::base_path::base_path;

    /// The path of a request without the prefix, or the address it is redirected to.
    fn without(base: &str, uri: &str) -> String {
        let mut uri: Uri = uri.parse().unwrap();
        let redirect = remove(&base_path(base).unwrap(), &mut uri);
        redirect.map_or_else(|| uri.to_string(), |response| response.headers()[LOCATION].to_str().unwrap().to_owned())
    }

    #[test]
    fn the_prefix_is_removed_once_where_it_is() {
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
            assert_eq!(without("/a/map", uri), expected, "{uri}");
        }
    }

    /// With `BASE_PATH=/living-map` the health check and all requests of a proxy that removes the prefix were answered 404.
    #[test]
    fn a_prefix_that_begins_a_route_hid_it() {
        for (uri, expected) in [
            ("/living-map/health", "/living-map/health"),
            ("/living-map/entities/a%2Fb?x=1", "/living-map/entities/a%2Fb?x=1"),
            ("/living-map/living-map/health", "/living-map/health"),
            ("/living-map/", "/"),
            ("/living-map", "living-map/"),
            ("/living-map/docs/", "/docs/"),
            ("/living-map/assets/x/y.js", "/assets/x/y.js"),
            ("/living-map/nothing", "/nothing"),
        ] {
            assert_eq!(without("/living-map", uri), expected, "{uri}");
        }
    }
}
