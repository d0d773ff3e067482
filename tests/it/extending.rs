//! The worked examples of `docs/extending.md`: patches that are applied to a copy of the source, compiled and tested there.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The patches, and the tests that each of them adds.
const EXAMPLES: [(&str, &str); 3] = [
    ("upstream", "demo::upstreams::the_rooms_service_is_polled"),
    ("reducer", "map::decode::presence::tests::a_gateway_reports_presence"),
    ("rule", "learner::rules::attempts::the_fourth_answer_with_three_attempts_gives_a_lesson"),
];

/// Maximum lines of an example, without its test.
const MOST_LINES: usize = 49;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn patch(example: &str) -> std::path::PathBuf {
    root().join(format!("docs/extending/{example}.patch"))
}

#[test]
fn each_example_is_shown_and_takes_under_fifty_lines() {
    let page = fs::read_to_string(root().join("docs/extending.md")).unwrap();
    for (example, _) in EXAMPLES {
        let text = fs::read_to_string(patch(example)).unwrap();
        let added: usize = text.split("diff --git").map(lines_before_the_test).sum();
        assert!(added <= MOST_LINES, "{example}: {added} lines");
        assert!(page.contains(&format!("{{{{#include extending/{example}.patch}}}}")), "{example} is not shown");
    }
}

/// The lines that a patch adds to one file, blank ones aside; tests are a file's end.
fn lines_before_the_test(file: &str) -> usize {
    let added = file.lines().filter_map(|line| line.strip_prefix('+')).filter(|line| !line.starts_with("++"));
    let is_test = |line: &&str| ["#[cfg(test)]", "#[test]", "#[tokio::test]"].contains(line);
    added.take_while(|line| !is_test(line)).filter(|line| !line.is_empty()).count()
}

/// In a copy that reuses the built dependencies: only our own crate is compiled.
#[test]
fn the_examples_apply_compile_and_do_what_they_say() {
    let copy = root().join("target/extending");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(&copy).expect("a folder can be made");
    for part in [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "build.rs",
        "src",
        "benches",
        "deploy",
        "migrations",
        "openapi",
        "tests",
        "docs/api.md",
        "docs/metrics.md",
        "web/app/src/words/events.json",
        "web/app/dist",
    ] {
        let from = root().join(part);
        // the page is embedded where it was built
        if !from.exists() {
            assert_eq!(part, "web/app/dist", "it moved");
            continue;
        }
        let to = copy.join(part);
        fs::create_dir_all(to.parent().expect("it is below the copy")).expect("a folder can be made");
        run(Command::new("cp").arg("-a").arg(from).arg(to));
    }
    for file in ["Cargo.toml", "Cargo.lock"] {
        let text = fs::read_to_string(copy.join(file)).expect("it was copied");
        let own = concat!("name = \"living-map\"\nversion = \"", env!("CARGO_PKG_VERSION"));
        assert_eq!(text.matches(own).count(), 1, "{file}");
        // a separate package: otherwise its build would overwrite that of the running tests
        fs::write(copy.join(file), text.replace(own, &format!("{own}-examples"))).expect("it can be written");
    }
    for (example, _) in EXAMPLES {
        // without its own repository git would use the surrounding one
        run(Command::new("git")
            .args(["apply", "--whitespace=error"])
            .arg(patch(example))
            .current_dir(&copy)
            .env("GIT_DIR", "none"));
    }
    let names = EXAMPLES.map(|(_, test)| test);
    let mut tests = Command::new(env!("CARGO"));
    tests.args(["test", "--offline", "--locked", "--lib", "--", "--exact"]).args(names).current_dir(&copy);
    // what cargo tells a test of its package is news to the build scripts of dependencies, which would all be built again
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        let of_this_run =
            ["CARGO_", "NEXTEST", "OUT_DIR", "LD_LIBRARY_PATH", "DYLD_"].iter().any(|prefix| name.starts_with(prefix));
        if of_this_run && name != "CARGO_HOME" {
            tests.env_remove(variable);
        }
    }
    let output = run(tests.env("CARGO_TARGET_DIR", root().join("target")));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("3 passed; 0 failed"), "{said}");
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    output
}
