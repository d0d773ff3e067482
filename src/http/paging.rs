//! Page cursors: opaque to clients, so that what is in them may change.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::DateTime;
use uuid::Uuid;

use super::error::Problem;
use super::query::MAX_ID_BYTES;
use crate::history::PagePosition;

const MICROS_BYTES: usize = size_of::<i64>();
const POSITION_BYTES: usize = MICROS_BYTES + size_of::<uuid::Bytes>();

/// The cursor of the page after the entity `id`.
#[must_use]
pub fn write_id(id: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id)
}

/// The id that [`write_id`] wrote.
///
/// # Errors
/// It did not write this.
pub fn read_id(cursor: &str) -> Result<String, Problem> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    String::from_utf8(bytes).ok().filter(|id| (1..=MAX_ID_BYTES).contains(&id.len())).ok_or_else(invalid)
}

/// The cursor of the page after the row at `position`.
#[must_use]
pub fn write_position(position: PagePosition) -> String {
    let mut bytes = [0; POSITION_BYTES];
    bytes[..MICROS_BYTES].copy_from_slice(&position.timestamp.timestamp_micros().to_be_bytes());
    bytes[MICROS_BYTES..].copy_from_slice(position.id.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The position that [`write_position`] wrote.
///
/// # Errors
/// It did not write this.
pub fn read_position(cursor: &str) -> Result<PagePosition, Problem> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    let (micros, id) = bytes.split_first_chunk().ok_or_else(invalid)?;
    Ok(PagePosition {
        timestamp: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros)).ok_or_else(invalid)?,
        id: Uuid::from_slice(id).map_err(|_| invalid())?,
    })
}

/// 400: not a cursor that this server gave out.
pub fn invalid() -> Problem {
    Problem::bad_request("cursor", "expected 'next_cursor' of the page before, as it was")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursors_round_trip(id in ".{1,100}", micros in -1_000_000_000_000_000_i64..4_000_000_000_000_000, key in any::<u128>()) {
            prop_assert_eq!(read_id(&write_id(&id)).unwrap(), id);
            let timestamp = DateTime::from_timestamp_micros(micros).unwrap();
            let position = PagePosition { timestamp, id: Uuid::from_u128(key) };
            prop_assert_eq!(read_position(&write_position(position)).unwrap(), position);
        }

        #[test]
        fn nonsense_is_refused_without_a_panic(text in ".{0,60}") {
            let _ = (read_id(&text), read_position(&text));
        }
    }

    #[test]
    fn what_this_server_never_wrote_is_refused() {
        for text in ["", "!", "a", "====", "YWdlbnQ6c29maWE", "_____________________________________w"] {
            assert!(read_position(text).is_err(), "{text}");
        }
        for text in ["", "!", "a b", "__8"] {
            assert!(read_id(text).is_err(), "{text}");
        }
    }
}
