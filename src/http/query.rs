//! Query strings and path parameters, read strictly: an invalid parameter is rejected with its name. Unknown names are
//! rejected before, by [`known_parameters`](super::known_parameters).

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use utoipa::IntoParams;
use uuid::Uuid;

use super::error::Problem;
use crate::model::time;

/// Maximum length of an entity id, in bytes.
pub const MAX_ID_BYTES: usize = 512;

/// Characters of an invalid value that a problem document quotes.
const SHOWN_CHARS: usize = 60;

/// A query that can be read from parameters.
pub trait FromParams: Sized {
    /// Reads the query.
    ///
    /// # Errors
    /// 400: the first invalid parameter.
    fn from_params(params: &Params) -> Result<Self, Problem>;
}

/// Extractor of a query; an invalid one is answered with 400.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: FromParams, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let params = parts.uri.query().map(Params::parse).transpose()?.unwrap_or_default();
        T::from_params(&params).map(Self)
    }
}

/// Extractor of the id or key in a path, percent-decoded.
#[derive(Debug)]
pub struct PathId(pub String);

/// Checks the length and characters of an id.
///
/// # Errors
/// 400: too long, or with a NUL.
fn checked_id(parameter: &'static str, id: String) -> Result<String, Problem> {
    if id.len() > MAX_ID_BYTES || id.contains('\0') {
        return Err(Problem::bad_request(parameter, format!("expected at most {MAX_ID_BYTES} bytes without NUL")));
    }
    Ok(id)
}

/// The id in a query, for routes that also have a form with the id in the path: proxies that decode the path, or that
/// merge its slashes, change an id with a slash there.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IdQuery {
    /// Id, as in the path of the other form.
    #[param(min_length = 1, max_length = 512)]
    pub id: String,
}

impl FromParams for IdQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self { id: params.required_id("id")? })
    }
}

/// Extractor of a UUID in a path.
#[derive(Debug)]
pub struct PathUuid(pub Uuid);

async fn path_parameter<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let Path(text) = Path::<String>::from_request_parts(parts, state)
        .await
        .map_err(|error: PathRejection| Problem::from(error).parameter("id"))?;
    Ok(text)
}

impl<S: Send + Sync> FromRequestParts<S> for PathUuid {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = path_parameter(parts, state).await?;
        text.parse().map(Self).map_err(|_| Problem::bad_request("id", "expected a UUID"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = path_parameter(parts, state).await?;
        checked_id("id", id).map(Self)
    }
}

/// Start and end of a period, both optional.
pub type Period = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Parameters of a query string. A parameter with an empty value counts as absent.
#[derive(Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Splits and decodes a query string.
    ///
    /// # Errors
    /// 400: a value is not UTF-8, or contains a NUL, which PostgreSQL cannot compare.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut params = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| Problem::bad_request(shown(name), "expected UTF-8"))?;
            match decode(value) {
                Some(value) if value.contains('\0') => return Err(Problem::bad_request(name, "must not contain NUL")),
                Some(value) => params.push((name, value)),
                None => return Err(Problem::bad_request(name, "expected UTF-8, percent-encoded")),
            }
        }
        Ok(Self(params))
    }

    /// Text of a parameter.
    ///
    /// # Errors
    /// 400: the parameter is repeated, so that its value is ambiguous.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, value)| key == name && !value.is_empty());
        let first = values.next().map(|(_, value)| value.as_str());
        if values.next().is_some() {
            return Err(Problem::bad_request(name, "expected once"));
        }
        Ok(first)
    }

    /// Text of a parameter that has a synonym, at most `max_bytes` long.
    ///
    /// # Errors
    /// 400: repeated, given by both names, or longer.
    pub fn short_text_of(
        &self,
        name: &'static str,
        synonym: &'static str,
        max_bytes: usize,
    ) -> Result<Option<String>, Problem> {
        match (self.short_text(name, max_bytes)?, self.short_text(synonym, max_bytes)?) {
            (Some(_), Some(_)) => {
                Err(Problem::bad_request(synonym, format!("expected either '{name}' or '{synonym}', not both")))
            }
            (text, other) => Ok(text.or(other)),
        }
    }

    /// Text of a parameter, at most `max_bytes` long.
    ///
    /// # Errors
    /// 400: repeated or longer.
    pub fn short_text(&self, name: &'static str, max_bytes: usize) -> Result<Option<String>, Problem> {
        match self.text(name)? {
            Some(text) if text.len() > max_bytes => {
                Err(Problem::bad_request(name, format!("expected at most {max_bytes} bytes, not {}", text.len())))
            }
            text => Ok(text.map(str::to_owned)),
        }
    }

    /// An id that must be given.
    ///
    /// # Errors
    /// 400: absent, repeated or longer than [`MAX_ID_BYTES`].
    pub fn required_id(&self, name: &'static str) -> Result<String, Problem> {
        let id = self.text(name)?.ok_or_else(|| Problem::bad_request(name, "is required"))?;
        checked_id(name, id.to_owned())
    }

    /// A parameter of a type that parses text, such as an enum.
    ///
    /// # Errors
    /// 400: repeated, or rejected by the type.
    pub fn parsed<T>(&self, name: &'static str) -> Result<Option<T>, Problem>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.text(name)?.map(|text| parse(name, text)).transpose()
    }

    /// A comma-separated list, sorted and without duplicates; empty if absent.
    ///
    /// # Errors
    /// 400: repeated, or an item is rejected by the type.
    pub fn list<T>(&self, name: &'static str) -> Result<Vec<T>, Problem>
    where
        T: FromStr + Ord,
        T::Err: Display,
    {
        let mut list = self
            .text(name)?
            .into_iter()
            .flat_map(|text| text.split(',').map(str::trim).filter(|item| !item.is_empty()))
            .map(|item| parse(name, item))
            .collect::<Result<Vec<T>, _>>()?;
        list.sort_unstable();
        list.dedup();
        Ok(list)
    }

    /// A whole number in `range`; `default` if absent.
    ///
    /// # Errors
    /// 400: repeated, not a number, or out of range.
    pub fn number(&self, name: &'static str, range: RangeInclusive<u32>, default: u32) -> Result<u32, Problem> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let (low, high) = range.into_inner();
            Problem::bad_request(name, format!("expected a whole number from {low} to {high}, not '{}'", shown(text)))
        })
    }

    /// A boolean; false if absent.
    ///
    /// # Errors
    /// 400: repeated, or not a boolean.
    pub fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.text(name)? {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => {
                Err(Problem::bad_request(name, format!("expected 'true' or 'false', not '{}'", shown(other))))
            }
        }
    }

    /// A boolean that is true if the parameter is given without a value; false if absent.
    ///
    /// # Errors
    /// 400: repeated, or not a boolean.
    pub fn switch(&self, name: &'static str) -> Result<bool, Problem> {
        let without_value = self.0.iter().any(|(key, value)| key == name && value.is_empty());
        Ok(without_value || self.flag(name)?)
    }

    /// The period from `since` to `until`, both optional.
    ///
    /// # Errors
    /// 400: not a time, or `since` is after `until`.
    pub fn period(&self) -> Result<Period, Problem> {
        let (since, until) = (self.time("since")?, self.time("until")?);
        match (since, until) {
            (Some(start), Some(end)) if start > end => {
                Err(Problem::bad_request("since", "expected a time not after 'until'"))
            }
            period => Ok(period),
        }
    }

    /// A time.
    ///
    /// # Errors
    /// 400: repeated, or not a time.
    pub fn time(&self, name: &'static str) -> Result<Option<DateTime<Utc>>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let time = time::parse(text).or_else(|| time::parse(&with_plus(text)?));
        time.map(Some).ok_or_else(|| {
            let expected = "expected an ISO 8601 time, for example 2026-01-19T12:00:00Z";
            Problem::bad_request(name, format!("{expected}, not '{}'", shown(text)))
        })
    }
}

fn parse<T>(name: &'static str, text: &str) -> Result<T, Problem>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| Problem::bad_request(name, format!("{error}; not '{}'", shown(text))))
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Restores the `+` of an offset that was not percent-encoded and was therefore decoded to a space.
fn with_plus(text: &str) -> Option<String> {
    let (time, offset) = text.rsplit_once(' ')?;
    Some(format!("{time}+{offset}"))
}

/// Beginning of an invalid value, as a problem document quotes it.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{EntityType, Layer};

    fn params(query: &str) -> Params {
        Params::parse(query).unwrap()
    }

    fn detail(problem: &Problem) -> String {
        format!("{problem:?}")
    }

    #[test]
    fn values_are_decoded() {
        let params = params("q=a+b%20c%26d&type=agent&_t=1&flag&&=x");
        assert_eq!(params.text("q").unwrap(), Some("a b c&d"));
        assert_eq!(params.parsed::<EntityType>("type").unwrap(), Some(EntityType::Agent));
        assert_eq!(params.text("flag").unwrap(), None);
        assert_eq!(params.text("absent").unwrap(), None);
    }

    #[test]
    fn invalid_values_are_rejected_with_their_name() {
        let params = params("type=daos&limit=0&big=99999999999999999999&neg=-1&twice=1&twice=2&fresh=maybe");
        assert!(detail(&params.parsed::<EntityType>("type").unwrap_err()).contains("expected one of city space"));
        for name in ["limit", "big", "neg", "twice"] {
            let problem = params.number(name, 1..=500, 100).unwrap_err();
            assert_eq!(problem.status(), 400);
            assert!(detail(&problem).contains(name), "{problem:?}");
        }
        assert!(params.flag("fresh").is_err());
        assert!(Params::parse("q=%ff").is_err());
        assert!(Params::parse("q=%00").is_err());
        assert!(Params::parse("%ff=1").is_err());
    }

    #[test]
    fn a_list_is_sorted_and_without_duplicates() {
        let params = params("layers=nodes,%20city,nodes,&bad=city,moon");
        assert_eq!(params.list::<Layer>("layers").unwrap(), [Layer::City, Layer::Nodes]);
        assert_eq!(params.list::<Layer>("none").unwrap(), []);
        assert!(params.list::<Layer>("bad").is_err());
    }

    #[test]
    fn a_plus_decoded_to_a_space_is_still_an_offset() {
        let expected = "2026-01-19T10:00:00Z".parse::<DateTime<Utc>>().unwrap();
        for text in [
            "2026-01-19T12:00:00%2B02:00",
            "2026-01-19T12:00:00+02:00",
            "2026-01-19+12:00:00+02:00",
            "2026-01-19T10:00:00Z",
            "2026-01-19T10:00:00",
            "2026-01-19T08:00:00-02:00",
        ] {
            assert_eq!(params(&format!("since={text}")).time("since").unwrap(), Some(expected), "{text}");
        }
        for text in ["yesterday", "2026-13-01T00:00:00Z", "2026-01-19T12:00:00+2", "+", "1e999"] {
            assert!(params(&format!("since=x{text}")).time("since").is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_query_string_panics(query in "[ -~а-я%&=+]{0,80}") {
            if let Ok(params) = Params::parse(&query) {
                let _ = (params.time("a"), params.flag("a"), params.number("a", 0..=9, 1), params.list::<Layer>("a"));
            }
        }
    }
}
