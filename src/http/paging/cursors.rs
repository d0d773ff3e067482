//! Page cursors. They are opaque to clients, so that their encoding may change.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::DateTime;
use uuid::Uuid;

use crate::history::PagePosition;
use crate::http::error::Problem;
use crate::http::query::MAX_ID_BYTES;

/// Maximum length of the text in a cursor: of an id, and of what orders it before.
const MAX_TEXT_BYTES: usize = MAX_ID_BYTES + 64;
const MICROS_BYTES: usize = size_of::<i64>();
const POSITION_BYTES: usize = MICROS_BYTES + size_of::<uuid::Bytes>();

/// Cursor of the page after the item `id`.
#[must_use]
pub fn encode_id(id: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id)
}

/// Id in a cursor of [`encode_id`].
///
/// # Errors
/// 400: not such a cursor.
pub fn decode_id(cursor: &str) -> Result<String, Problem> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    String::from_utf8(bytes).ok().filter(|id| (1..=MAX_TEXT_BYTES).contains(&id.len())).ok_or_else(invalid)
}

/// Cursor of the page after the row at `position`.
#[must_use]
pub fn encode_position(position: PagePosition) -> String {
    let mut bytes = [0; POSITION_BYTES];
    bytes[..MICROS_BYTES].copy_from_slice(&position.timestamp.timestamp_micros().to_be_bytes());
    bytes[MICROS_BYTES..].copy_from_slice(position.id.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Position in a cursor of [`encode_position`].
///
/// # Errors
/// 400: not such a cursor.
pub fn decode_position(cursor: &str) -> Result<PagePosition, Problem> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    let (micros, id) = bytes.split_first_chunk().ok_or_else(invalid)?;
    Ok(PagePosition {
        timestamp: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros)).ok_or_else(invalid)?,
        id: Uuid::from_slice(id).map_err(|_| invalid())?,
    })
}

/// 400: not a cursor that this server returned.
pub fn invalid() -> Problem {
    Problem::bad_request("cursor", "expected 'next_cursor' of the previous page, unchanged")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursors_round_trip(id in ".{1,100}", micros in -1_000_000_000_000_000_i64..4_000_000_000_000_000, key in any::<u128>()) {
            prop_assert_eq!(decode_id(&encode_id(&id)).unwrap(), id);
            let timestamp = DateTime::from_timestamp_micros(micros).unwrap();
            let position = PagePosition { timestamp, id: Uuid::from_u128(key) };
            prop_assert_eq!(decode_position(&encode_position(position)).unwrap(), position);
        }

        #[test]
        fn arbitrary_text_does_not_panic(text in ".{0,60}") {
            let _ = (decode_id(&text), decode_position(&text));
        }
    }

    #[test]
    fn cursors_of_another_origin_are_rejected() {
        for text in ["", "!", "a", "====", "YWdlbnQ6c29maWE", "_____________________________________w"] {
            assert!(decode_position(text).is_err(), "{text}");
        }
        for text in ["", "!", "a b", "__8"] {
            assert!(decode_id(text).is_err(), "{text}");
        }
    }
}
