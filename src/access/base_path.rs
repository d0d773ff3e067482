//! Path prefix under which proxies serve this server.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Maximum length, in bytes.
const MAX_BYTES: usize = 256;

/// A path such as `/map`, without a trailing slash; empty if there is no prefix. In the extensions of a request: the one
/// under which its client sees this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePath(Arc<str>);

/// Text that is not a base path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a path such as /map, of letters, digits and -._~, at most {MAX_BYTES} bytes long")]
pub struct InvalidBasePath;

impl Default for BasePath {
    fn default() -> Self {
        Self("".into())
    }
}

impl FromStr for BasePath {
    type Err = InvalidBasePath;

    fn from_str(text: &str) -> Result<Self, InvalidBasePath> {
        let path = text.strip_suffix('/').unwrap_or(text);
        if path.is_empty() {
            return Ok(Self::default());
        }
        let segments = path.strip_prefix('/').ok_or(InvalidBasePath)?;
        // an empty segment could make a link to another host
        let is_segment = |segment: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(is_plain)
        };
        if path.len() > MAX_BYTES || !segments.split('/').all(is_segment) {
            return Err(InvalidBasePath);
        }
        Ok(Self(path.into()))
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BasePath {
    /// The prefix; empty if there is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Path of a route as the client sees it.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The part of a path, with or without a query, after the prefix; `None` if the path does not begin with it.
    #[must_use]
    pub fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&*self.0).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_has_plain_segments() {
        for (text, expected) in [("", ""), ("/", ""), ("/map", "/map"), ("/map/", "/map"), ("/a/b-1._~", "/a/b-1._~")] {
            assert_eq!(text.parse::<BasePath>().unwrap().as_str(), expected, "{text}");
        }
        let long = "/".to_owned() + &"a".repeat(MAX_BYTES);
        for text in
            ["map", "//evil.example", "/a//b", "/map//", "/..", "/a/./b", "/a?b", "/a#b", "/a b", "/%2f", "/\"", &long]
        {
            assert_eq!(text.parse::<BasePath>(), Err(InvalidBasePath), "{text}");
        }
    }
}
