//! Statements of the documents about the source, compared with the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use living_map::instruments::Limit;

/// A metric: its name, its type, the names of its labels in order.
type Metric = (String, &'static str, Vec<String>);

const TYPES: [&str; 3] = ["counter", "gauge", "histogram"];

#[test]
fn every_metric_is_documented_as_it_is_recorded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut recorded = BTreeSet::new();
    for source in sources(&root.join("src")) {
        recorded.extend(recorded_in(&source));
    }
    assert!(recorded.len() > 20, "the search finds too little: {recorded:?}");
    let documented = documented_in(&fs::read_to_string(root.join("docs/metrics.md")).unwrap());
    let missing: Vec<_> = recorded.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&recorded).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/metrics.md lacks {missing:#?} and has what nothing records: {unknown:#?}"
    );
}

/// Generated; `make configuration`, or this test with `UPDATE_CONFIGURATION=1`, writes it.
#[test]
fn the_configuration_page_is_generated_from_the_settings() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let generated = living_map::app::settings_reference();
    if std::env::var_os("UPDATE_CONFIGURATION").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), generated, "`make configuration` writes it");
}

/// Generated; `make configuration` writes it.
#[test]
fn the_limits_page_has_the_table_of_the_settings() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits.md");
    let page = fs::read_to_string(&path).unwrap();
    let (_, rest) = page.split_once("generated: make configuration -->\n").expect("the beginning of the table");
    let (table, _) = rest.split_once("<!-- end of limits -->").expect("its end");
    assert_eq!(table, living_map::app::limits_reference(), "`make configuration` writes it");
}

/// A limit whose rejections are counted under a label is a setting whose entry names the label.
#[test]
fn the_limits_page_names_each_label_of_rejections() {
    let table = living_map::app::limits_reference();
    let missing: Vec<_> = Limit::LABELS.iter().filter(|label| !table.contains(&format!("`{label}`"))).collect();
    assert!(missing.is_empty(), "no limit says that it counts as {missing:?}");
}

/// A dashboard of an unknown metric is empty, and an alert on it never fires.
#[test]
fn dashboards_and_alerts_ask_for_metrics_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documented: BTreeSet<String> = documented_in(&fs::read_to_string(root.join("docs/metrics.md")).unwrap())
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    for file in ["deploy/prometheus/alerts.yml", "deploy/grafana/living-map.json"] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        let asked: BTreeSet<&str> = words
            .filter(|word| {
                ["living_map_", "sse_", "ws_", "js_", "lessons_"].iter().any(|prefix| word.starts_with(prefix))
            })
            .map(|word| word.trim_end_matches("_bucket"))
            .collect();
        assert!(asked.len() > 5, "{file}: the search finds too little: {asked:?}");
        let unknown: Vec<_> = asked.into_iter().filter(|name| !documented.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}, which docs/metrics.md does not know");
    }
}

/// Every page is in the book, and every link has a target.
#[test]
fn the_book_has_every_page_and_its_links_lead_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages = BTreeSet::new();
    for folder in ["", "adr/"] {
        for entry in fs::read_dir(docs.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap();
            if path.extension().is_some_and(|extension| extension == "md") && name != "SUMMARY.md" {
                pages.insert(format!("{folder}{name}"));
            }
        }
    }
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<String> = links_in(&summary).into_iter().map(|(target, _)| target).collect();
    assert_eq!(listed, pages, "docs/SUMMARY.md on the left, the pages on the right");
    for page in &pages {
        let path = docs.join(page);
        for (target, anchor) in links_in(&fs::read_to_string(&path).unwrap()) {
            let to = if target.is_empty() { path.clone() } else { path.parent().unwrap().join(&target) };
            assert!(to.exists(), "{page} links to {target}, which is not there");
            if let Some(anchor) = anchor {
                let headings = anchors_in(&fs::read_to_string(&to).unwrap());
                assert!(headings.contains(&anchor), "{page} links to {target}#{anchor}: {headings:?}");
            }
        }
    }
}

/// An error message that names a page is of use only if the page is there.
#[test]
fn pages_named_in_error_messages_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = sources(&root.join("src")).join("\n");
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("docs/") {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "/-_.#".contains(c);
        let text: String = code[at..].chars().take_while(|c| is_part(*c)).collect();
        if let Some((page, anchor)) = text.split_once('#') {
            named.insert((page.to_owned(), anchor.trim_end_matches('.').to_owned()));
        }
    }
    assert!(named.len() > 2, "the search finds too little: {named:?}");
    for (page, anchor) in named {
        let headings =
            anchors_in(&fs::read_to_string(root.join(&page)).unwrap_or_else(|error| panic!("{page}: {error}")));
        assert!(headings.contains(&anchor), "{page}#{anchor} is not one of {headings:?}");
    }
}

/// A case in the documents that names its test is shown by one that exists.
#[test]
fn tests_named_in_the_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = ["src", "tests"].iter().flat_map(|folder| sources(&root.join(folder))).collect::<String>();
    let text = fs::read_to_string(root.join("docs/log-and-time.md")).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    let is_test =
        |name: &&str| name.matches('_').count() > 2 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let named: BTreeSet<&str> = quoted.filter(is_test).collect();
    assert!(named.len() > 10, "the search finds too little: {named:?}");
    let is_there = |name: &str| ["(", ",", ";"].iter().any(|end| code.contains(&format!("{name}{end}")));
    let missing: Vec<&str> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "docs/log-and-time.md names tests that do not exist: {missing:#?}");
}

/// The links within the repository: the file (none: the page itself), and the heading in it.
fn links_in(page: &str) -> Vec<(String, Option<String>)> {
    let after = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let targets = after.map(|(target, _)| target).filter(|target| !target.contains("://"));
    let split = |target: &str| match target.split_once('#') {
        Some((file, anchor)) => (file.to_owned(), Some(anchor.to_owned())),
        None => (target.to_owned(), None),
    };
    targets.map(split).collect()
}

/// The names that a page's headings have as targets of links.
fn anchors_in(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let name = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|character| character.is_alphanumeric() || matches!(character, '-' | '_')).collect()
    };
    headings.map(name).collect()
}

/// The text of every Rust file in `folder`.
fn sources(folder: &Path) -> Vec<String> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources.extend(self::sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(fs::read_to_string(path).unwrap());
        }
    }
    sources
}

/// The metrics that a file's `counter!`, `gauge!` and `histogram!` name, by themselves or through a constant of the file.
fn recorded_in(source: &str) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for kind in TYPES {
        let call = format!("{kind}!(");
        for (at, _) in source.match_indices(&call) {
            // `describe_counter!` only says what a metric is about
            if source[..at].ends_with('_') {
                continue;
            }
            let arguments = &source[at + call.len()..];
            let (name, labels) = arguments.split_at(arguments.find([',', ')']).unwrap());
            let name = match name.trim().strip_prefix('"') {
                Some(literal) => literal.trim_end_matches('"').to_owned(),
                None => constant(source, name.trim()),
            };
            metrics.push((name, kind, labels_of(labels)));
        }
    }
    metrics
}

/// The value of a text constant.
fn constant(source: &str, name: &str) -> String {
    let declared = format!("const {name}: &str = \"");
    let (_, value) = source.split_once(&declared).unwrap_or_else(|| panic!("{name} is no constant of its file"));
    value.split('"').next().unwrap().to_owned()
}

/// The labels in the rest of a macro's arguments: the texts before `=>`, up to the end of the call.
fn labels_of(arguments: &str) -> Vec<String> {
    let mut depth = 1;
    let end = arguments.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    let mut parts: Vec<&str> = arguments[..end.unwrap()].split("=>").collect();
    // behind the last arrow is a value
    parts.pop();
    let texts = parts.into_iter().map(|part| part.trim_end().strip_suffix('"'));
    let mut labels: Vec<String> =
        texts.flatten().filter_map(|text| Some(text.rsplit_once('"')?.1.to_owned())).collect();
    labels.sort_unstable();
    labels
}

/// The rows `| name | type | labels | …` of a document's tables.
fn documented_in(document: &str) -> BTreeSet<Metric> {
    let mut metrics = BTreeSet::new();
    for row in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, ..] = cells[..] else { panic!("too few cells: {row}") };
        // the table of alerts has expressions in its first column
        let Some(kind) = TYPES.into_iter().find(|known| *known == kind) else { continue };
        let mut labels: Vec<String> =
            labels.split(',').map(|label| label.trim().trim_matches('`').to_owned()).collect();
        labels.retain(|label| !label.is_empty());
        labels.sort_unstable();
        let metric = (name.trim_matches('`').to_owned(), kind, labels);
        assert!(metrics.insert(metric), "twice in the document: {row}");
    }
    metrics
}
