//! Query strings of the routes.
//!
//! An input is a byte that chooses the route, and its query string.

#![no_main]

use libfuzzer_sys::fuzz_target;
use living_map::http::fuzzing::{QUERIES, read_query};

fuzz_target!(|input: &[u8]| {
    let Some((route, query)) = input.split_first() else { return };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let (path, required) = QUERIES[usize::from(*route) % QUERIES.len()];
    let Err(refusal) = read_query(path, query) else { return };
    assert_eq!(refusal.status, 400, "{path}?{query}: {refusal:?}");
    let parameter = refusal.parameter.as_deref().unwrap_or_else(|| panic!("{path}?{query}: {refusal:?} names none"));
    assert!(refusal.detail.starts_with(&format!("{parameter}: ")), "{path}?{query}: {refusal:?}");
    // the name may be cut, where it is none that a route has
    let given = query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        name == parameter || name.contains(['%', '+']) || name.starts_with(parameter.trim_end_matches('…'))
    });
    assert!(given || required.contains(&parameter), "{path}?{query}: {refusal:?} of what was not given");
});
