//! Cursors of the log, and of pages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use living_map::http::fuzzing::{read_id, read_position, write_id, write_position};
use living_map::model::Cursor;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(cursor) = text.parse::<Cursor>() {
        let written = cursor.to_string();
        assert_eq!(written.parse(), Ok(cursor), "{text:?}");
        // the shortest form, which a client gets, is as long at most
        assert!(written.len() <= text.len(), "{text:?} {written:?}");
        assert!(read_position(text).is_err(), "{text:?} is a cursor of both kinds");
    }
    // page cursors are taken as they were given out, or not at all
    if let Ok(position) = read_position(text) {
        assert_eq!(write_position(position), text);
    }
    if let Ok(id) = read_id(text) {
        assert_eq!(write_id(&id), text);
    }
    if !text.is_empty() && text.len() <= 512 {
        assert_eq!(read_id(&write_id(text)).ok().as_deref(), Some(text));
    }
});
