//! The path below which the routes are served.

use super::rules::RULES;
use crate::access::base_path::{BasePath, InvalidBasePath};

/// Parses `BASE_PATH`, below which every route can be told from the routes without it.
///
/// # Errors
/// The expected form, or the route that has the same path.
pub fn base_path(text: &str) -> Result<BasePath, String> {
    let base: BasePath = text.parse().map_err(|error: InvalidBasePath| error.to_string())?;
    if base.as_str().is_empty() {
        return Ok(base);
    }
    let below = RULES.iter().map(|(_, route, _)| base.join(route));
    match std::iter::once(base.to_string()).chain(below).find_map(|path| route_of(&path)) {
        Some(route) => Err(format!("expected another path: this one has the route {route} of the server")),
        None => Ok(base),
    }
}

/// The route that has this path.
pub(super) fn route_of(path: &str) -> Option<&'static str> {
    RULES.iter().map(|(_, route, _)| *route).find(|route| has_path(route, path))
}

/// Returns true if a route has this path. Segments such as `{id}` match any one, `{*path}` matches the rest.
fn has_path(route: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for wanted in route.split('/') {
        let Some(found) = segments.next() else { return false };
        if wanted.starts_with("{*") {
            return !found.is_empty();
        }
        if found != wanted && (found.is_empty() || !wanted.starts_with('{')) {
            return false;
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_is_the_path_of_a_route_is_rejected() {
        for (base, route) in [
            ("/docs", "/docs"),
            ("/docs/map", "/docs/{*path}"),
            ("/assets", "/assets/{*path}"),
            ("/metrics/", "/metrics"),
            ("/living-map/entities", "/living-map/entities"),
        ] {
            let error = base_path(base).unwrap_err();
            assert!(error.contains(&format!("the route {route} ")), "{base}: {error}");
        }
        for base in ["", "/", "/map", "/living-map", "/living-map/team", "/documents"] {
            assert_eq!(base_path(base).unwrap().as_str(), base.trim_end_matches('/'));
        }
        assert!(base_path("map").unwrap_err().starts_with("expected a path"));
    }
}
