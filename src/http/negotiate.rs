//! Content negotiation and conditional requests (RFC 9110, sections 12 and 13).

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, IF_NONE_MATCH};

use crate::live::Encoding;

/// Quality value in thousandths; RFC 9110 allows three decimal digits.
type Quality = u16;

const FULL: Quality = 1_000;

/// Quality of `identity` if the client neither lists nor excludes it: acceptable, but after any coding that it lists.
const UNNAMED_IDENTITY: Quality = 1;

/// Whether `Accept` lists `text/html`, as browsers do, with a higher quality than JSON.
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

/// Whether `Accept` lists `application/json` with at least the quality of any text type.
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

/// Encoding with the highest quality in `Accept-Encoding`; among equals the one with the smallest result. `None` if the
/// client accepts none of them.
#[must_use]
pub fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    best(
        headers,
        [(&["identity"], Encoding::Identity), (&["gzip", "x-gzip"], Encoding::Gzip), (&["zstd"], Encoding::Zstd)],
    )
}

/// The offer with the highest quality in `Accept-Encoding`, among equals the last. Each offer has the names of its coding.
/// `identity` is acceptable unless excluded.
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

/// Whether `If-None-Match` contains `etag`, so that the response is 304. Uses weak comparison, as RFC 9110 requires.
#[must_use]
pub fn not_modified(headers: &HeaderMap, etag: &str) -> bool {
    let opaque = etag.trim_start_matches("W/");
    headers
        .get_all(IF_NONE_MATCH)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == opaque)
}

/// Elements of a list header with their quality values. Malformed elements are skipped.
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
    fn browsers_prefer_html_and_programs_json() {
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
    fn json_is_preferred_only_if_listed() {
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
    fn qualities_determine_the_encoding() {
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
    fn codings_that_are_not_offered_are_ignored() {
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
    fn etags_are_compared_weakly_and_completely() {
        for (sent, had) in [
            (r#""a""#, true),
            (r#"W/"a""#, true),
            (r#""x", "a""#, true),
            ("*", true),
            (r#""a-gzip""#, false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(not_modified(&with(IF_NONE_MATCH, sent), r#""a""#), had, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_headers_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(ACCEPT, value.clone()), (ACCEPT_ENCODING, value.clone()), (IF_NONE_MATCH, value)]);
                let _ = (prefers_html(&headers), encoding(&headers), not_modified(&headers, r#""a""#));
            }
        }
    }
}
