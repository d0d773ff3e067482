//! Reading the fields of a JSON body strictly: what is wrong is refused by name.

use std::ops::RangeInclusive;

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::error::Problem;

/// The fields of a body.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Those of an object, in the form in which a database can hold them.
    ///
    /// # Errors
    /// 422: it is none.
    pub fn of(body: Value) -> Result<Self, Problem> {
        match crate::model::json::normalise(body) {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(refused("body", "expected a JSON object")),
        }
    }

    /// A text of 1 to `max` bytes that may be absent or null.
    ///
    /// # Errors
    /// 422: it is none.
    pub fn text(&self, name: &'static str, max: usize) -> Result<Option<String>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if (1..=max).contains(&text.len()) => Ok(Some(text.clone())),
            Some(_) => Err(refused(name, &format!("expected a text of 1 to {max} bytes"))),
        }
    }

    /// A text of 1 to `max` bytes.
    ///
    /// # Errors
    /// 422: it is none.
    pub fn required_text(&self, name: &'static str, max: usize) -> Result<String, Problem> {
        self.text(name, max)?.ok_or_else(|| refused(name, "is required"))
    }

    /// A whole number in `range`.
    ///
    /// # Errors
    /// 422: it is none.
    pub fn required_number(&self, name: &'static str, range: RangeInclusive<u32>) -> Result<u32, Problem> {
        let number = self.0.get(name).and_then(whole);
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            refused(name, &format!("expected a whole number from {low} to {high}"))
        })
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// 422: it is neither.
    pub fn required_flag(&self, name: &'static str) -> Result<bool, Problem> {
        self.0.get(name).and_then(Value::as_bool).ok_or_else(|| refused(name, "expected true or false"))
    }

    /// 422 for a field that is wrong in another way.
    #[expect(clippy::unused_self, reason = "it is said of these fields")]
    pub fn wrong(&self, name: &'static str, expected: &str) -> Problem {
        refused(name, expected)
    }
}

/// A whole number, however it is written: 3.0 is one too (JSON Schema 2020-12, validation 6.1.1).
fn whole(value: &Value) -> Option<u32> {
    if let Some(number) = value.as_u64() {
        return u32::try_from(number).ok();
    }
    let number =
        value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in range")]
    Some(number as u32)
}

fn refused(name: &'static str, expected: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{name}: {expected}")).field(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        assert_eq!(Fields::of(json!([1])).unwrap_err().status(), 422);
        let fields = Fields::of(
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
