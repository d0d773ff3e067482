//! Covering and overlapping of subject patterns. The server rejects a stream with a subject that overlaps one of
//! another stream.

/// Returns true if `wide` matches every subject that `narrow` matches.
#[must_use]
pub fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.split('.');
    for token in wide.split('.') {
        match (token, narrow.next()) {
            (">", Some(_)) => return true,
            (_, Some(">")) => return false,
            ("*", Some(_)) => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

/// Returns true if there is a subject that both patterns match.
#[must_use]
pub fn overlap(one: &str, other: &str) -> bool {
    let mut other = other.split('.');
    for token in one.split('.') {
        match (token, other.next()) {
            (">", Some(_)) | (_, Some(">")) => return true,
            ("*", Some(_)) | (_, Some("*")) => {}
            (token, Some(twin)) if token == twin => {}
            _ => return false,
        }
    }
    other.next().is_none()
}

/// The shortest list that matches all subjects of both lists. Patterns covered by another one are left out, since the server
/// rejects overlapping subjects in one stream too.
#[must_use]
pub fn union(existing: &[String], wanted: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(existing.len() + wanted.len());
    for subject in existing.iter().chain(wanted) {
        if !all.iter().any(|kept| covers(kept, subject)) {
            all.retain(|kept| !covers(subject, kept));
            all.push(subject.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::NETWORK_PRESET;
    use crate::model::subject::{MAP_SUBJECTS, NETWORK_SUBJECTS, Pattern};
    use proptest::prelude::*;

    #[test]
    fn patterns_cover_and_overlap_as_on_the_server() {
        for (wide, narrow, covered, overlapping) in [
            ("a.>", "a.b", true, true),
            ("a.>", "a.*", true, true),
            ("a.>", "a", false, false),
            ("a.*", "a.b", true, true),
            ("a.*", "a.>", false, true),
            ("a.*.c", "a.b.*", false, true),
            ("a.b", "a.b", true, true),
            ("a.b", "a.c", false, false),
            ("a", "a.b", false, false),
            (">", "a", true, true),
            ("*", ">", false, true),
        ] {
            assert_eq!(covers(wide, narrow), covered, "{wide} covers {narrow}");
            assert_eq!(overlap(wide, narrow), overlapping, "{wide} overlaps {narrow}");
            assert_eq!(overlap(narrow, wide), overlapping, "{narrow} overlaps {wide}");
        }
    }

    #[test]
    fn declared_streams_do_not_overlap() {
        let all: Vec<&str> = MAP_SUBJECTS.iter().chain(NETWORK_SUBJECTS).chain(NETWORK_PRESET).copied().collect();
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert!(!overlap(one, other), "{one} overlaps {other}");
            }
        }
    }

    #[test]
    fn a_union_loses_nothing_and_repeats_nothing() {
        let list = |subjects: &[&str]| subjects.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(union(&list(&["a.b", "z"]), &list(&["a.>", "c"])), list(&["z", "a.>", "c"]));
        assert_eq!(union(&list(&["a.>"]), &list(&["a.b", "a.*"])), list(&["a.>"]));
    }

    proptest! {
        #[test]
        fn a_covering_pattern_matches_all_that_the_covered_one_does(
            wide in "([ab*]\\.){0,2}[ab*>]", narrow in "([ab*]\\.){0,2}[ab*>]", subject in "([ab]\\.){0,3}[ab]",
        ) {
            let matches = |pattern: &str| pattern.parse::<Pattern>().unwrap().matches(&subject);
            if covers(&wide, &narrow) && matches(&narrow) {
                prop_assert!(matches(&wide));
            }
            if matches(&wide) && matches(&narrow) {
                prop_assert!(overlap(&wide, &narrow));
            }
        }
    }
}
