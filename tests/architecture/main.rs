//! The dependencies between modules, read from the source: as the table in `ARCHITECTURE.md` says, downwards only, and
//! without a cycle between the children of any module.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::source::{Reference, Source};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The level of each module: lines of `ARCHITECTURE.md` of the form ``| 3 | `history`, `lease` | … |``.
fn levels() -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md can be read");
    let mut levels = BTreeMap::new();
    for line in text.lines() {
        let mut cells = line.trim().trim_start_matches('|').split('|').map(str::trim);
        let (Some(level), Some(modules)) = (cells.next().and_then(|cell| cell.parse().ok()), cells.next()) else {
            continue;
        };
        for module in modules.split('`').skip(1).step_by(2) {
            assert_eq!(levels.insert(module.to_owned(), level), None, "{module} is in the table twice");
        }
    }
    levels
}

#[test]
fn modules_depend_only_on_lower_levels() {
    let (source, levels) = (Source::read(&root().join("src")), levels());
    let children = source.children("");
    assert_eq!(children, levels.keys().cloned().collect(), "the modules of src/ and those in ARCHITECTURE.md");
    let upward: Vec<String> = source
        .edges("")
        .into_iter()
        .filter(|(edge, _)| levels[&edge.0] <= levels[&edge.1])
        .map(|((from, to), reference)| format!("{from} -> {to} ({reference})"))
        .collect();
    assert!(upward.is_empty(), "these import from their own or a higher level:\n{}", upward.join("\n"));
}

#[test]
fn no_cycle_inside_a_module() {
    let source = Source::read(&root().join("src"));
    let mut cycles = Vec::new();
    for parent in source.parents() {
        let edges = source.edges(&parent);
        for cycle in cycles_of(&edges) {
            let inside = edges.iter().filter(|((from, to), _)| cycle.contains(from) && cycle.contains(to));
            let lines: Vec<String> =
                inside.map(|((from, to), reference)| format!("  {from} -> {to} ({reference})")).collect();
            cycles.push(format!("{parent}\n{}", lines.join("\n")));
        }
    }
    assert!(cycles.is_empty(), "siblings that import each other in a circle:\n{}", cycles.join("\n"));
}

/// Sets of nodes that reach each other.
fn cycles_of(edges: &BTreeMap<(String, String), Reference>) -> BTreeSet<BTreeSet<String>> {
    let mut reach: BTreeSet<(String, String)> = edges.keys().cloned().collect();
    loop {
        let more: Vec<(String, String)> = reach
            .iter()
            .flat_map(|(from, via)| {
                edges.keys().filter(move |(next, _)| next == via).map(move |(_, to)| (from.clone(), to.clone()))
            })
            .filter(|pair| !reach.contains(pair))
            .collect();
        if more.is_empty() {
            break;
        }
        reach.extend(more);
    }
    let nodes = reach.iter().filter(|(from, to)| from == to).map(|(node, _)| node);
    let mutual =
        |a: &String, b: &String| reach.contains(&(a.clone(), b.clone())) && reach.contains(&(b.clone(), a.clone()));
    nodes.clone().map(|node| nodes.clone().filter(|other| mutual(node, other)).cloned().collect()).collect()
}

#[test]
fn cycle_detection_finds_a_cycle() {
    let edge = |from: &str, to: &str| ((from.to_owned(), to.to_owned()), Reference::default());
    let edges = BTreeMap::from([edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("c", "d")]);
    let expected = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
    assert_eq!(cycles_of(&edges), BTreeSet::from([expected]));
}

/// Text of all Rust files below a folder, without white space.
fn code_below(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the source can be read") {
        let path = entry.expect("the source can be read").path();
        if path.is_dir() {
            files.extend(code_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("the source can be read");
            files.push((path.display().to_string(), text.split_whitespace().collect()));
        }
    }
    files
}

/// Calls that encode and whose error is replaced by a default or dropped: what was stored or sent would be empty.
fn dropped_encoding_errors(code: &str) -> Vec<String> {
    const ENCODERS: [&str; 4] = ["serde_json::to_", "rmp_serde::to_", "to_raw_value(", "to_pretty_json("];
    let mut found = Vec::new();
    for (at, encoder) in ENCODERS.iter().flat_map(|encoder| code.match_indices(encoder)) {
        let mut depth = 0;
        let end = code[at..].find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ')' && depth == 0
        });
        let rest = end.map_or("", |end| &code[at + end + 1..]);
        if [".ok()", ".unwrap_or"].iter().any(|dropped| rest.starts_with(dropped)) || code[..at].ends_with("let_=") {
            found.push(format!("{encoder}…{}", &rest[..rest.floor_char_boundary(30)]));
        }
    }
    found
}

#[test]
fn no_encoding_error_becomes_an_empty_value() {
    let files = code_below(&root().join("src"));
    assert!(files.len() > 200, "the search finds too little");
    let found: Vec<String> = files
        .iter()
        .flat_map(|(file, code)| dropped_encoding_errors(code).into_iter().map(move |line| format!("{file}: {line}")))
        .collect();
    assert!(found.is_empty(), "return the error, or report it:\n{}", found.join("\n"));
    assert_eq!(dropped_encoding_errors("leta=serde_json::to_string(&b.c(d)).unwrap_or_default();").len(), 1);
    assert_eq!(dropped_encoding_errors("let_=serde_json::to_writer(a,b);").len(), 1);
    assert_eq!(dropped_encoding_errors("serde_json::to_string(&a)?;").len(), 0);
}

/// Fields of deserialized types that hold any JSON and are read by `serde_json`'s implementation.
fn fields_of_any_json(text: &str) -> Vec<String> {
    let is_any = |field: &str| {
        let kind = field.split_once(": ").map_or("", |(_, kind)| kind.trim_end_matches(','));
        ["Value", "Option<Value>", "Vec<Value>", "Map<String, Value>", "BTreeMap<String, Value>"].contains(&kind)
    };
    let (mut found, mut is_deserialized, mut attributes) = (Vec::new(), false, String::new());
    for line in text.lines() {
        let code = line.trim();
        if code.starts_with("#[derive(") {
            is_deserialized = code.contains("Deserialize");
        }
        if code.starts_with('#') {
            attributes.push_str(code);
        } else if !code.starts_with("//") {
            if is_deserialized && is_any(code) && !attributes.contains("deserialize_with") {
                found.push(code.to_owned());
            }
            attributes.clear();
            is_deserialized &= line != "}" && !line.ends_with(");");
        }
    }
    found
}

/// `serde_json` replaces an object with one reserved key by the text in it where it reads a `Value` or a `RawValue`.
#[test]
fn any_json_is_read_by_the_model() {
    /// Typed data without a field for any JSON, TOML, and `RawValue` of a whole column or frame, which is not looked into.
    const OTHERS: [&str; 9] = [
        "/access/jwks.rs",
        "/alerts/rule_table.rs",
        "/history/stored.rs",
        "/http/frames.rs",
        "/http/fuzzing.rs",
        "/journal/entry.rs",
        "/lease/election.rs",
        "/map/decode/poll.rs",
        "/webhooks/dispatcher.rs",
    ];
    let mut found = Vec::new();
    for (path, _) in code_below(&root().join("src")) {
        let text = std::fs::read_to_string(&path).expect("the source can be read");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        if OTHERS.iter().any(|other| path.ends_with(other)) || path.ends_with("tests.rs") || path.contains("/tests/") {
            continue;
        }
        found.extend(fields_of_any_json(text).into_iter().map(|field| format!("{path}: {field}")));
        let calls = text.lines().filter(|line| line.contains("serde_json::from_") && !line.contains("//"));
        found.extend(calls.map(|line| format!("{path}: {}", line.trim())));
    }
    assert!(found.is_empty(), "use crate::model::json:\n{}", found.join("\n"));
    let example = "#[derive(Deserialize)]\nstruct A {\n    #[serde(deserialize_with = \"value\")]\n    a: Value,\n    b: Value,\n}\n";
    assert_eq!(fields_of_any_json(example), ["b: Value,"]);
}
