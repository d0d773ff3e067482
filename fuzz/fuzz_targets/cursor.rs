//! Log cursors and page cursors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use living_map::http::fuzzing::{decode_id, decode_position, encode_id, encode_position};
use living_map::model::Cursor;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(cursor) = text.parse::<Cursor>() {
        let written = cursor.to_string();
        assert_eq!(written.parse(), Ok(cursor), "{text:?}");
        // clients receive the shortest form
        assert!(written.len() <= text.len(), "{text:?} {written:?}");
        assert!(decode_position(text).is_err(), "{text:?} is valid as both kinds of cursor");
    }
    // page cursors have a single encoding
    if let Ok(position) = decode_position(text) {
        assert_eq!(encode_position(position), text);
    }
    if let Ok(id) = decode_id(text) {
        assert_eq!(encode_id(&id), text);
    }
    if !text.is_empty() && text.len() <= 512 {
        assert_eq!(decode_id(&encode_id(text)).ok().as_deref(), Some(text));
    }
});
