//! Content negotiation: what of what we have a client wants (RFC 9110, sections 12 and 13).

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, IF_NONE_MATCH};

use crate::live::Encoding;

/// A quality in thousandths, as RFC 9110 writes them with three digits.
type Quality = u16;

const FULL: Quality = 1_000;

/// The quality of an uncompressed answer that a client neither asks for nor excludes: better than nothing, worse than
/// anything it asks for.
const UNNAMED_IDENTITY: Quality = 1;

/// Whether a client would rather have the page than JSON: it names `text/html`, as browsers do, and likes it better.
#[must_use]
pub fn prefers_html(headers: &HeaderMap) -> bool {
    let mut html = None;
    let mut json: (u8, Quality) = (0, 0);
    for (range, quality) in elements(headers, &ACCEPT) {
        let specificity = match range {
            "text/html" => {
                html = html.max(Some(quality));
                continue;
            }
            "application/json" => 3,
            "application/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        json = json.max((specificity, quality));
    }
    html.is_some_and(|quality| quality > json.1)
}

/// Whether a client asks for JSON by name and likes nothing better that is text.
#[must_use]
pub fn prefers_json(headers: &HeaderMap) -> bool {
    let (mut json, mut text) = (None, 0);
    for (range, quality) in elements(headers, &ACCEPT) {
        match range {
            "application/json" => json = json.max(Some(quality)),
            "text/markdown" | "text/plain" | "text/*" => text = text.max(quality),
            _ => {}
        }
    }
    json.is_some_and(|quality| quality > 0 && quality >= text)
}

/// The encoding a client wants: the best one it takes, and of equals the smallest. None when it takes none of ours.
#[must_use]
pub fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    best(
        headers,
        [(&["identity"], Encoding::Identity), (&["gzip", "x-gzip"], Encoding::Gzip), (&["zstd"], Encoding::Zstd)],
    )
}

/// Of what is `offered`, each by its names in headers, what a client takes most gladly, and of equals the last. What is
/// called `identity` is taken by whoever does not exclude it.
pub fn best<T: Copy, const N: usize>(headers: &HeaderMap, offered: [(&[&str], T); N]) -> Option<T> {
    let is_identity = |names: &[&str]| names.contains(&"identity");
    if !headers.contains_key(ACCEPT_ENCODING) {
        return offered.iter().find(|(names, _)| is_identity(names)).map(|(_, it)| *it);
    }
    let (mut qualities, mut any) = ([None; N], None);
    for (coding, quality) in elements(headers, &ACCEPT_ENCODING) {
        let named = |(names, _): &(&[&str], T)| names.iter().any(|name| coding.eq_ignore_ascii_case(name));
        let slot = match offered.iter().position(named) {
            Some(at) => &mut qualities[at],
            None if coding == "*" => &mut any,
            None => continue,
        };
        *slot = (*slot).max(Some(quality));
    }
    offered
        .iter()
        .zip(qualities)
        .map(|((names, it), quality)| match quality {
            None if is_identity(names) => (any.filter(|any| *any == 0).unwrap_or(UNNAMED_IDENTITY), *it),
            _ => (quality.or(any).unwrap_or(0), *it),
        })
        .filter(|(quality, _)| *quality > 0)
        .max_by_key(|(quality, _)| *quality)
        .map(|(_, it)| it)
}

/// Whether `If-None-Match` names `etag`, so that the client has the answer already. Compared weakly, as RFC 9110 wants.
#[must_use]
pub fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    let opaque = etag.trim_start_matches("W/");
    headers
        .get_all(IF_NONE_MATCH)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == opaque)
}

/// The elements of a list header with their qualities; malformed ones are left out.
fn elements<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = (&'a str, Quality)> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|element| {
            let mut parts = element.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?;
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let quality = weight.map_or(Some(FULL), quality)?;
            Some((name, quality))
        })
}

fn quality(text: &str) -> Option<Quality> {
    let value = text.trim().parse::<f32>().ok().filter(|value| (0.0..=1.0).contains(value))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    Some((value * f32::from(FULL)).round() as Quality)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn browsers_get_the_page_and_programs_get_json() {
        for (accept, html) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("text/html", true),
            ("text/html, application/json;q=0.9", true),
            ("text/html;q=0.5, application/json", false),
            ("text/html;q=0.1, */*", false),
            ("*/*", false),
            ("application/json", false),
            ("text/html;q=0", false),
            ("application/json, text/html", false),
            ("", false),
        ] {
            assert_eq!(prefers_html(&with(ACCEPT, accept)), html, "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        for (accept, json) in [
            ("application/json", true),
            ("application/json, text/plain;q=0.5", true),
            ("text/markdown, application/json;q=0.5", false),
            ("*/*", false),
            ("application/json;q=0", false),
            ("", false),
        ] {
            assert_eq!(prefers_json(&with(ACCEPT, accept)), json, "{accept}");
        }
    }

    #[test]
    fn qualities_decide_the_encoding() {
        use Encoding::{Gzip, Identity, Zstd};
        for (accept, encoding) in [
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("x-gzip;q=0.5", Some(Gzip)),
            ("gzip;q=0.5, zstd;q=0.4", Some(Gzip)),
            ("gzip;q=0.5, identity", Some(Identity)),
            ("br", Some(Identity)),
            ("", Some(Identity)),
            ("*", Some(Zstd)),
            ("*;q=0.5, zstd;q=0", Some(Gzip)),
            ("gzip;q=0", Some(Identity)),
            ("identity;q=0", None),
            ("*;q=0", None),
            ("*;q=0, gzip", Some(Gzip)),
            ("identity;q=0, gzip;q=0.1", Some(Gzip)),
            ("gzip;q=nonsense, zstd;q=0.001", Some(Zstd)),
        ] {
            assert_eq!(super::encoding(&with(ACCEPT_ENCODING, accept)), encoding, "{accept}");
        }
        assert_eq!(super::encoding(&HeaderMap::new()), Some(Identity));
    }

    #[test]
    fn what_is_offered_decides_which_names_are_known() {
        let offered = [(&["identity"][..], 0), (&["gzip"], 1), (&["br"], 2)];
        for (accept, chosen) in [
            ("gzip, deflate, br, zstd", Some(2)),
            ("gzip, deflate", Some(1)),
            ("zstd", Some(0)),
            ("br;q=0.5, gzip", Some(1)),
            ("br;q=0, *", Some(1)),
            ("identity;q=0, zstd", None),
        ] {
            assert_eq!(best(&with(ACCEPT_ENCODING, accept), offered), chosen, "{accept}");
        }
        assert_eq!(best(&HeaderMap::new(), offered), Some(0));
    }

    #[test]
    fn tags_are_compared_weakly_and_by_the_whole() {
        for (sent, had) in [
            (r#""a""#, true),
            (r#"W/"a""#, true),
            (r#""x", "a""#, true),
            ("*", true),
            (r#""a-gzip""#, false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(has_already(&with(IF_NONE_MATCH, sent), r#""a""#), had, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(ACCEPT, value.clone()), (ACCEPT_ENCODING, value.clone()), (IF_NONE_MATCH, value)]);
                let _ = (prefers_html(&headers), encoding(&headers), has_already(&headers, r#""a""#));
            }
        }
    }
}
