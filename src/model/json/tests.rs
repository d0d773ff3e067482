use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, json};

use super::*;

/// Key that `serde_json` replaces by the JSON text in it.
const RESERVED: &str = "$serde_json::private::RawValue";

fn kinds(notes: &Notes) -> Vec<(NoteKind, Option<&str>, Option<&str>)> {
    notes.iter().map(|note| (note.kind, note.at.as_deref(), note.original.as_deref())).collect()
}

#[test]
fn each_repair_is_noted_with_its_place_and_original() {
    use NoteKind::{
        ByteOrderMark, ControlCharacter, DuplicateKey, InvalidUtf8, NotFinite, Nul, Number, Surrogate, TrailingNul,
    };
    let at = Some("/a");
    for (text, value, notes) in [
        (&br#"{"a":"x\u0000y"}"#[..], json!({"a": "x\u{fffd}y"}), vec![(Nul, at, Some("\\u0000"))]),
        (b"{\"a\":\"x\0y\"}", json!({"a": "x\u{fffd}y"}), vec![(Nul, at, Some("\\0"))]),
        (br#"{"a\u0000":1}"#, json!({"a\u{fffd}": 1}), vec![(Nul, None, Some("\\u0000"))]),
        (
            br#"["\ud800","\udc00x","\ud83d\ude00"]"#,
            json!(["\u{fffd}", "\u{fffd}x", "😀"]),
            vec![(Surrogate, Some("/0"), Some("\\ud800")), (Surrogate, Some("/1"), Some("\\udc00"))],
        ),
        (b"\"\xff\"", json!("\u{fffd}"), vec![(InvalidUtf8, None, Some("\\xff"))]),
        (br#"{"a":1,"a":2}"#, json!({"a": 2}), vec![(DuplicateKey, at, Some("1"))]),
        (
            br#"{"a":1e400,"b":-1e999,"c":"1e400"}"#,
            json!({"a": f64::MAX, "b": f64::MIN, "c": "1e400"}),
            vec![(Number, at, Some("1e400")), (Number, Some("/b"), Some("-1e999"))],
        ),
        (
            br#"{"a":0.1234567890123456789}"#,
            json!({"a": 0.123_456_789_012_345_68}),
            vec![(Number, at, Some("0.1234567890123456789"))],
        ),
        (
            br#"{"a":[NaN,-Infinity,inf]}"#,
            json!({"a": [null, null, null]}),
            vec![
                (NotFinite, Some("/a/0"), Some("NaN")),
                (NotFinite, Some("/a/1"), Some("-Infinity")),
                (NotFinite, Some("/a/2"), Some("inf")),
            ],
        ),
        (b"\xef\xbb\xbf{}", json!({}), vec![(ByteOrderMark, None, Some("UTF-8"))]),
        (b"\xff\xfe[\x001\x00]\x00", json!([1]), vec![(ByteOrderMark, None, Some("UTF-16LE"))]),
        (b"\xfe\xff\x00[\x001\x00]", json!([1]), vec![(ByteOrderMark, None, Some("UTF-16BE"))]),
        (
            b"{\"a\":\"x\ty\n\"}",
            json!({"a": "x\ty\n"}),
            vec![(ControlCharacter, at, Some("\\t")), (ControlCharacter, at, Some("\\n"))],
        ),
        (b"{} \0\0\n\0", json!({}), vec![(TrailingNul, None, Some("3 bytes"))]),
        (
            br#"{"a/~":{"b":[0,NaN]}}"#,
            json!({"a/~": {"b": [0, null]}}),
            vec![(NotFinite, Some("/a~1~0/b/1"), Some("NaN"))],
        ),
    ] {
        let normal = parse(text).unwrap_or_else(|error| panic!("{}: {error}", text.escape_ascii()));
        assert_eq!((normal.value, kinds(&normal.notes)), (value, notes), "{}", text.escape_ascii());
    }
}

#[test]
fn numbers_are_in_the_form_of_jsonb() {
    for (text, value) in [
        ("1e16", "10000000000000000"),
        ("-0.0", "0.0"),
        ("-0", "0.0"),
        ("1.0", "1.0"),
        ("1e20", "1e+20"),
        ("-1e16", "-10000000000000000"),
        ("18446744073709551616", "1.8446744073709552e+19"),
    ] {
        let normal = parse(text.as_bytes()).unwrap();
        assert_eq!((normal.value.to_string().as_str(), normal.notes.is_empty()), (value, true), "{text}");
    }
}

#[test]
fn text_whose_meaning_is_not_plain_is_rejected() {
    for text in [
        &b""[..],
        b"{",
        b"nul",
        b"{\"a\":\"\\u12\"}",
        b"1 2",
        b"\\",
        b"\0",
        b"\xff\xfe",
        b"{'a':1}",
        b"[1,]",
        b"{\"a\" 1}",
        b"{\"a\":1,}",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"1e",
        b"-",
        b"--1",
        b"-true",
        b"None",
        b"\"\\x41\"",
        b"[1 2]",
        b"{1:2}",
        b"\xff",
        b"\"a",
        b"// 1",
    ] {
        assert!(matches!(parse(text), Err(Unreadable::NotJson { .. })), "{}", text.escape_ascii());
    }
    assert_eq!(parse(b"[1, x]"), Err(Unreadable::NotJson { expected: "a value", offset: 4 }));
}

/// A payload of the maximum depth is readable in its envelope too.
#[test]
fn depth_is_limited_without_a_recursion_of_the_input_depth() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    for levels in [1, 126, 127, 128, 129] {
        assert!(parse(nested(levels).as_bytes()).is_ok(), "{levels}");
    }
    for text in [nested(130), nested(200), "[".repeat(16 << 20), r#"{"a":"#.repeat(3 << 20)] {
        assert!(matches!(parse(text.as_bytes()), Err(Unreadable::TooDeep { .. })));
    }
    assert_eq!(depth(&parse(nested(128).as_bytes()).unwrap().value), 128);
    assert_eq!(depth(&json!({"a": [1, {"b": 2}], "c": 3})), 3);
    assert_eq!(depth(&json!(1)), 0);
}

#[test]
fn hostile_text_is_repaired_in_linear_time() {
    let started = std::time::Instant::now();
    for part in ["NaN,", "\"\\ud800\",", "1e999,", "\"\u{1}\",", "{\"a\":1,\"a\":{}},", "0.12345678901234567891,"] {
        let text = format!("[{}0]", part.repeat((4 << 20) / part.len()));
        let normal = parse(text.as_bytes()).unwrap();
        assert!(normal.notes.iter().count() <= 4, "{part}");
    }
    let digits = "7".repeat(4 << 20);
    assert!(parse(digits.as_bytes()).is_ok());
    // far more than a quadratic reading of one of them would take
    assert!(started.elapsed().as_secs() < 60);
}

/// `{"$serde_json::private::RawValue": "1"}` was read as `1`.
#[test]
fn a_reserved_key_is_an_ordinary_key() {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(deserialize_with = "value")]
        value: Value,
        #[serde(deserialize_with = "object")]
        object: Map<String, Value>,
    }
    for key in [RESERVED, "$serde_json::private::Number"] {
        let inner = json!({key: "[1]"});
        let text = format!(r#"{{"value":{inner},"object":{{"a":{inner}}}}}"#);
        assert_eq!(parse(inner.to_string().as_bytes()).unwrap().value, inner);
        assert_eq!(parse_strict(inner.to_string().as_bytes()).unwrap(), inner);
        let repaired = parse(format!("{inner}\0").as_bytes()).unwrap();
        assert_eq!(repaired.value, inner);
        let typed: Typed = serde_json::from_str(&text).unwrap();
        assert_eq!((&typed.value, &typed.object["a"]), (&inner, &inner));
        let saved = rmp_serde::to_vec(&json!({"value": inner, "object": {"a": inner}})).unwrap();
        let typed: Typed = rmp_serde::from_slice(&saved).unwrap();
        assert_eq!((&typed.value, &typed.object["a"]), (&inner, &inner));
    }
}

#[test]
fn elements_are_parsed_one_by_one() {
    let text = b"\xef\xbb\xbf [ {\"a\":1}, nul, NaN ]\0";
    let elements = Elements::of(text, 9).unwrap();
    let parsed: Vec<_> = elements.parsed().collect();
    assert_eq!(elements.len(), 3);
    assert_eq!(parsed[0].as_ref().unwrap().value, json!({"a": 1}));
    assert_eq!(parsed[1], Err(Unreadable::NotJson { expected: "a value", offset: 15 }));
    assert_eq!(parse(b"\xef\xbb\xbf[x"), Err(Unreadable::NotJson { expected: "a value", offset: 4 }));
    let kinds: Vec<_> = parsed[2].as_ref().unwrap().notes.counts().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [NoteKind::ByteOrderMark, NoteKind::TrailingNul, NoteKind::NotFinite]);
    assert_eq!(Elements::of(b"{}", 0).unwrap().len(), 1);
    assert!(Elements::of(b" [] ", 0).unwrap().is_empty());
}

/// Text that is nearly JSON: tokens in any order.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let token = proptest::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"",
        "1",
        "-",
        "1e400",
        "0.12345678901234567",
        "NaN",
        "null",
        "\\ud800",
        "\\u0000",
        "\u{1}",
        "\0",
        " ",
        "-0.0",
        "1e16",
        "\"a\":",
        "{\"a\":1,\"a\":2}",
        "\u{feff}",
        "\"$serde_json::private::RawValue\":\"1\"",
    ]);
    let token = prop_oneof![
        8 => token.prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_rejected_or_normalized_stably(text in hostile()) {
        if let Ok(normal) = parse(&text) {
            let again = parse(normal.value.to_string().as_bytes()).unwrap();
            prop_assert_eq!(again, Normal { value: normal.value.clone(), notes: Notes::NONE });
            prop_assert_eq!(normalise(normal.value.clone()), normal.value);
        }
    }

    /// Both parsers agree, so that it does not matter which one reads a text.
    #[test]
    fn the_repairing_parser_reads_strict_text_as_the_strict_one(text in hostile()) {
        if let Ok(strict) = parse_strict(&text) {
            prop_assert_eq!(repair::parse(&text, BeyondRange::Nearest, MAX_BODY_DEPTH).unwrap().value, strict);
        }
    }

    #[test]
    fn valid_json_has_no_notes(number in any::<f64>(), text in ".{0,20}", whole in any::<i64>()) {
        let value = json!({"n": number, "t": text.replace('\0', ""), "w": [whole]});
        prop_assert_eq!(parse(value.to_string().as_bytes()).unwrap().notes, Notes::NONE);
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a\"\\\\,:{}\\[\\]\u{e4}\n]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 200, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map("[a-c\",:]{0,3}", inner, 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_memory_of_a_text_covers_that_of_its_value(value in any_value()) {
        let text = value.to_string();
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let (estimated, memory) = (parsed_bytes(text.as_bytes()), memory_bytes(&parsed));
        prop_assert!(estimated >= memory, "{estimated} for {memory} bytes: {text}");
    }
}

#[test]
fn small_objects_take_far_more_memory_than_their_text() {
    let hostile = format!("[{}{{\"\":0}}]", "{\"\":0},".repeat(9_999));
    assert!(parsed_bytes(hostile.as_bytes()) > hostile.len() * 80);
    let text = serde_json::to_string(&"{[,:]}\\\"".repeat(1_000)).unwrap();
    assert!(parsed_bytes(text.as_bytes()) < text.len() + 100, "punctuation in a string takes nothing");
}
