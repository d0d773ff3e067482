//! Query strings of the routes.
//!
//! Input: a byte that selects the route, then its query string.

#![no_main]

use libfuzzer_sys::fuzz_target;
use living_map::http::fuzzing::{QUERIES, parse_query};

fuzz_target!(|input: &[u8]| {
    let Some((route, query)) = input.split_first() else { return };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let (path, required) = QUERIES[usize::from(*route) % QUERIES.len()];
    let Err(rejection) = parse_query(path, query) else { return };
    assert_eq!(rejection.status, 400, "{path}?{query}: {rejection:?}");
    let parameter =
        rejection.parameter.as_deref().unwrap_or_else(|| panic!("{path}?{query}: {rejection:?} names no parameter"));
    assert!(rejection.detail.starts_with(&format!("{parameter}: ")), "{path}?{query}: {rejection:?}");
    // an unknown name may be truncated
    let given = query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        name == parameter || name.contains(['%', '+']) || name.starts_with(parameter.trim_end_matches('…'))
    });
    assert!(given || required.contains(&parameter), "{path}?{query}: {rejection:?} about an absent parameter");
});
