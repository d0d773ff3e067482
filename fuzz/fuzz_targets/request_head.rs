//! Heads and bodies of HTTP requests, cut into pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use living_map::http::fuzzing::{LIMITS, Outcome};

fuzz_target!(|input: &[u8]| {
    let Some((&size, bytes)) = input.split_first() else { return };
    let whole = Outcome::of([bytes]);
    let pieces = Outcome::of(bytes.chunks(usize::from(size).max(1)));
    assert_eq!((whole.rejected, whole.failed), (pieces.rejected, pieces.failed));
    if whole.failed.is_none() {
        assert_eq!(whole.released, pieces.released);
        // what is released is well-formed, and has the same requests; encoding may have made it larger than a head can be
        if whole.released.len() > LIMITS.bytes {
            return;
        }
        let again = Outcome::of([&whole.released[..]]);
        assert_eq!((again.rejected, again.failed), (None, None));
        assert_eq!(again.released, whole.released);
    }
});
