//! Origins of pages: whether a browser sends a request for this server's own page.
//!
//! A browser lets a page of any origin send requests to any server, bodies of simple types and WebSocket handshakes included,
//! and sets `Origin` and `Sec-Fetch-Site` itself. Other clients send neither.

use http::{Extensions, HeaderMap, HeaderName, header};

/// Request header: relation of the page's origin to the one that it addresses, after any rewriting of `Host` and `Origin` by
/// proxies. Browsers send it to `https` and to loopback addresses.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Maximum length of an origin in an error message, in characters.
const MAX_SHOWN: usize = 200;

/// Advice for pages that are taken for foreign ones because a proxy replaces the host that they address.
pub const PROXY_ADVICE: &str = "if it is this server's own page behind a proxy, the proxy must pass on the host, as \
    `proxy_set_header Host $http_host` of nginx does";

/// Address that the client used, as a trusted proxy forwards it, in the extensions of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardedAddress {
    /// `X-Forwarded-Host`.
    pub host: Option<String>,
    /// `X-Forwarded-Proto`.
    pub scheme: Option<String>,
}

/// Page that sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// This server's own page, or a client that is not a browser.
    Own,
    /// A page whose origin is in `ALLOWED_ORIGINS`.
    Listed,
    /// Any other page.
    Foreign {
        /// Header that states it.
        header: &'static str,
        /// Its value.
        value: String,
    },
}

/// The page that sent a request with these headers. `allowed` are origins as browsers send them; an entry `*` matches none.
#[must_use]
pub fn page(headers: &HeaderMap, extensions: &Extensions, allowed: &[String]) -> Page {
    let site = headers.get(FETCH_SITE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if site.as_deref() == Some("same-origin") {
        return Page::Own;
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return match site.as_deref() {
            // none: the user's own act, such as a bookmark
            None | Some("none") => Page::Own,
            Some(other) => foreign("Sec-Fetch-Site", other),
        };
    };
    let origin = String::from_utf8_lossy(origin.as_bytes());
    let listed = |entry: &String| entry != "*" && entry.trim_end_matches('/').eq_ignore_ascii_case(&origin);
    if headers.get_all(header::ORIGIN).iter().nth(1).is_some() {
        return foreign("Origin", "more than one origin");
    }
    if allowed.iter().any(listed) {
        return Page::Listed;
    }
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let forwarded = extensions.get::<ForwardedAddress>();
    let hosts = own.into_iter().chain(forwarded.and_then(|address| address.host.as_deref()));
    // a page that the network could change; the scheme may be `http` where another proxy has ended TLS before
    let is_insecure =
        forwarded.is_some_and(|address| address.scheme.as_deref() == Some("https")) && !origin.starts_with("https:");
    // `same-site` and `cross-site` are certain, even where a proxy makes the hosts equal
    if matches!(site.as_deref(), None | Some("none"))
        && !is_insecure
        && hosts.into_iter().any(|host| is_of(&origin, host))
    {
        return Page::Own;
    }
    foreign("Origin", &origin)
}

fn foreign(header: &'static str, value: &str) -> Page {
    Page::Foreign { header, value: value.chars().take(MAX_SHOWN).collect() }
}

/// Returns true if `origin` has this host and port.
fn is_of(origin: &str, host: &str) -> bool {
    let Ok(url) = url::Url::parse(origin) else { return false };
    // the header omits the scheme's default port, as the origin does; a proxy may have added it
    let Ok(host_url) = url::Url::parse(&format!("{}://{host}", url.scheme())) else { return false };
    url.host().is_some()
        && url.host() == host_url.host()
        && url.port_or_known_default() == host_url.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The page that sent a request with the header `Host` and these other headers.
    fn page_of(host: &str, others: &[(&'static str, &str)], allowed: &[&str]) -> Page {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
        for (name, value) in others {
            headers.append(*name, value.parse().unwrap());
        }
        page(&headers, &Extensions::new(), &allowed.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn pages_of_other_origins_are_foreign() {
        for (origin, host) in [
            ("https://evil.example", "map.example"),
            ("https://map.example.evil.example", "map.example"),
            ("http://localhost:3000", "localhost:7017"),
            ("https://map.example:8443", "map.example"),
            ("null", "map.example"),
            ("", "map.example"),
            ("*", "map.example"),
            ("map.example", "map.example"),
        ] {
            let page = page_of(host, &[("origin", origin)], &["https://other.example", "*"]);
            assert_eq!(page, foreign("Origin", origin), "{origin} on {host}");
        }
        let twice = [("origin", "https://map.example"), ("origin", "https://evil.example")];
        assert!(matches!(page_of("map.example", &twice, &["https://map.example"]), Page::Foreign { .. }));
    }

    #[test]
    fn own_and_listed_origins_and_programs_are_told_apart() {
        assert_eq!(page_of("map.example", &[], &[]), Page::Own);
        for (origin, host) in [
            ("http://localhost:7017", "localhost:7017"),
            ("https://map.example", "map.example"),
            ("https://map.example", "map.example:443"),
            ("https://MAP.example", "map.EXAMPLE"),
            ("http://[::1]:7017", "[::1]:7017"),
        ] {
            assert_eq!(page_of(host, &[("origin", origin)], &[]), Page::Own, "{origin} on {host}");
        }
        let listed = page_of("localhost:7017", &[("origin", "http://localhost:3000")], &["http://localhost:3000/"]);
        assert_eq!(listed, Page::Listed);
    }

    #[test]
    fn the_browsers_own_statement_takes_precedence() {
        let of = |site: &str, origin: Option<&str>| {
            let origin = origin.map(|origin| ("origin", origin));
            let headers: Vec<_> = [("sec-fetch-site", site)].into_iter().chain(origin).collect();
            page_of("map.example", &headers, &["https://listed.example"])
        };
        // a proxy that rewrites Host
        assert_eq!(of("same-origin", Some("https://outside.example")), Page::Own);
        assert_eq!(of("none", None), Page::Own);
        assert_eq!(of("cross-site", Some("https://listed.example")), Page::Listed);
        for site in ["cross-site", "same-site", "SAME-ORIGIN", ""] {
            assert_eq!(of(site, None), foreign("Sec-Fetch-Site", site), "{site}");
            assert_eq!(of(site, Some("https://map.example")), foreign("Origin", "https://map.example"), "{site}");
        }
        assert_eq!(of("none", Some("https://evil.example")), foreign("Origin", "https://evil.example"));
    }

    #[test]
    fn the_host_that_a_trusted_proxy_forwards_counts_too() {
        let origin = "https://map.example";
        let headers = HeaderMap::from_iter([
            (header::HOST, HeaderValue::from_static("living-map:7017")),
            (header::ORIGIN, HeaderValue::from_static(origin)),
        ]);
        let mut extensions = Extensions::new();
        assert_eq!(page(&headers, &extensions, &[]), foreign("Origin", origin));
        let mut forward = |host: &str, scheme: Option<&str>| {
            let scheme = scheme.map(str::to_owned);
            extensions.insert(ForwardedAddress { host: Some(host.to_owned()), scheme });
            page(&headers, &extensions, &[])
        };
        for scheme in [None, Some("https"), Some("http")] {
            assert_eq!(forward("map.example", scheme), Page::Own, "{scheme:?}");
        }
        assert_eq!(forward("map.example.evil.example", None), foreign("Origin", origin));
    }

    #[test]
    fn an_insecure_page_is_not_the_own_one_of_a_host_with_tls() {
        let origin = "http://map.example";
        let headers = HeaderMap::from_iter([
            (header::HOST, HeaderValue::from_static("map.example")),
            (header::ORIGIN, HeaderValue::from_static(origin)),
        ]);
        let mut extensions = Extensions::new();
        assert_eq!(page(&headers, &extensions, &[]), Page::Own);
        extensions.insert(ForwardedAddress { host: None, scheme: Some("http".to_owned()) });
        assert_eq!(page(&headers, &extensions, &[]), Page::Own);
        extensions.insert(ForwardedAddress { host: None, scheme: Some("https".to_owned()) });
        assert_eq!(page(&headers, &extensions, &[]), foreign("Origin", origin));
    }
}
