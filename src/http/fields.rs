//! Fields of a JSON body, read strictly: an invalid field is rejected with its name.

use std::ops::RangeInclusive;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::body::{self, Received};
use super::error::Problem;
use super::state::AppState;
use crate::access::shares::Slot;

/// Fields of a JSON body. As an extractor it reads the body within the configured limits.
#[derive(Debug)]
pub struct Fields {
    fields: Map<String, Value>,
    /// Memory for the body; none in tests.
    _memory: Option<[Slot; 2]>,
}

impl FromRequest<AppState> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let Received { content, memory } = body::read_json(state, request).await?;
        Ok(Self { _memory: Some(memory), ..Self::from_json(content)? })
    }
}

impl Fields {
    /// Fields of an object, normalized to a form that a database can store.
    ///
    /// # Errors
    /// 422: not an object.
    fn from_json(body: Value) -> Result<Self, Problem> {
        match crate::model::json::normalise(body) {
            Value::Object(fields) => Ok(Self { fields, _memory: None }),
            _ => Err(invalid("body", "expected a JSON object")),
        }
    }

    /// A string of 1 to `max` bytes; `None` if absent or null.
    ///
    /// # Errors
    /// 422: another type or length.
    pub fn text(&self, name: &'static str, max: usize) -> Result<Option<String>, Problem> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if (1..=max).contains(&text.len()) => Ok(Some(text.clone())),
            Some(_) => Err(invalid(name, &format!("expected a string of 1 to {max} bytes"))),
        }
    }

    /// A string of 1 to `max` bytes.
    ///
    /// # Errors
    /// 422: absent, or another type or length.
    pub fn required_text(&self, name: &'static str, max: usize) -> Result<String, Problem> {
        self.text(name, max)?.ok_or_else(|| invalid(name, "is required"))
    }

    /// A whole number in `range`.
    ///
    /// # Errors
    /// 422: absent, another type, or out of range.
    pub fn required_number(&self, name: &'static str, range: RangeInclusive<u32>) -> Result<u32, Problem> {
        let number = self.fields.get(name).and_then(whole_number);
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            invalid(name, &format!("expected a whole number from {low} to {high}"))
        })
    }

    /// A boolean.
    ///
    /// # Errors
    /// 422: absent or another type.
    pub fn required_flag(&self, name: &'static str) -> Result<bool, Problem> {
        self.fields.get(name).and_then(Value::as_bool).ok_or_else(|| invalid(name, "expected true or false"))
    }

    /// 422 for a field that is invalid in another way.
    #[expect(clippy::unused_self, reason = "reads as a method of the fields")]
    pub fn invalid(&self, name: &'static str, expected: &str) -> Problem {
        invalid(name, expected)
    }
}

/// A whole number in any notation: 3.0 is one too (JSON Schema 2020-12, validation 6.1.1).
fn whole_number(value: &Value) -> Option<u32> {
    if let Some(number) = value.as_u64() {
        return u32::try_from(number).ok();
    }
    let number =
        value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in range")]
    Some(number as u32)
}

fn invalid(name: &'static str, expected: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{name}: {expected}")).field(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn invalid_fields_are_rejected_with_422() {
        assert_eq!(Fields::from_json(json!([1])).unwrap_err().status(), 422);
        let fields = Fields::from_json(
            json!({"a": "x", "n": 3, "whole": 3.0, "half": 3.5, "b": true, "empty": "", "long": "xxxx", "no": null}),
        )
        .unwrap();
        assert_eq!((fields.required_text("a", 3).unwrap(), fields.text("no", 3).unwrap()), ("x".to_owned(), None));
        assert_eq!((fields.required_number("n", 1..=3).unwrap(), fields.required_flag("b").unwrap()), (3, true));
        assert_eq!(fields.required_number("whole", 1..=3).unwrap(), 3);
        for problem in [
            fields.required_number("half", 1..=9).unwrap_err(),
            fields.text("empty", 3).unwrap_err(),
            fields.text("long", 3).unwrap_err(),
            fields.text("n", 3).unwrap_err(),
            fields.required_text("no", 3).unwrap_err(),
            fields.required_number("n", 1..=2).unwrap_err(),
            fields.required_number("a", 1..=2).unwrap_err(),
            fields.required_flag("n").unwrap_err(),
        ] {
            assert_eq!(problem.status(), 422);
        }
    }
}
