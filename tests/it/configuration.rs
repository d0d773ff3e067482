//! Settings from options, environment and files, and the commands that validate and print them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::support::daemon::Folder;

/// A run of the program in a folder of its own, without the settings of this process.
struct Run {
    folder: Folder,
}

impl Run {
    fn new() -> Self {
        Self { folder: Folder::new("configuration") }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("the file is written");
        path.display().to_string()
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_living-map"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.envs(variables.iter().copied()).output().expect("the program starts")
    }

    /// The value and the origin of a setting, as `config show` prints them.
    fn shown(&self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (String, String) {
        let output = self.run(&[&["config", "show"], arguments].concat(), variables);
        let text = text_of(&output);
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("{name} is not shown: {text}"));
        let mut words = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).skip(1);
        let mut next = || words.next().unwrap_or_default().to_owned();
        (next(), next())
    }
}

/// Standard output and error.
fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn option_beats_environment_beats_file_beats_default() {
    let run = Run::new();
    let file = run.write("living-map.toml", "PORT = 3\n");
    let (option, file_option) = (["--port", "1"], ["--config", &file]);
    let variable = [("PORT", "2")];
    for (arguments, variables, expected) in [
        (&[][..], &[][..], ("7017", "default".to_owned())),
        (&file_option[..], &[], ("3", format!("file {file}"))),
        (&file_option, &variable, ("2", "environment".into())),
        (&[&file_option[..], &option].concat(), &variable, ("1", "option".into())),
        (&[], &[("LIVING_MAP_CONFIG", &*file)], ("3", format!("file {file}"))),
        (&file_option, &[("PORT", "")], ("3", format!("file {file}"))),
    ] {
        let (value, origin) = run.shown("PORT", arguments, variables);
        assert_eq!((value.as_str(), origin), expected, "{arguments:?} {variables:?}");
    }
}

#[test]
fn values_of_the_file_may_be_lists_numbers_and_booleans() {
    let run = Run::new();
    let text = "EXTRA_SUBJECTS = ['task.>', 'chat.*']\nSYNC_INTERVAL_SECONDS = 1.5\nLEARNER_ENABLED = false\n\
                WEBHOOK_RETRY_SECONDS = [1, 2.5]\nNATS_URL = ''\n";
    let file = run.write("living-map.toml", text);
    for (name, value) in [
        ("EXTRA_SUBJECTS", "task.>,chat.*"),
        ("SYNC_INTERVAL_SECONDS", "1.5"),
        ("LEARNER_ENABLED", "false"),
        ("WEBHOOK_RETRY_SECONDS", "1,2.5"),
        ("NATS_URL", "-"),
    ] {
        assert_eq!(run.shown(name, &["--config", &file], &[]).0, value, "{name}");
    }
}

#[test]
fn a_wrong_file_is_an_error_that_names_the_setting() {
    let run = Run::new();
    for (text, expected) in [
        ("PROT = 1\n", "PROT: unknown setting; the nearest name is PORT"),
        ("history_retention_day = 1\n", "the nearest name is HISTORY_RETENTION_DAYS"),
        ("LIVING_MAP_CONFIG = 'x'\n", "LIVING_MAP_CONFIG: unknown setting"),
        ("PORT = 'x'\n", "'x' for '--port <PORT>': expected a whole number (file "),
        ("PORT = 70000\n", "'--port <PORT>': 70000 is not in 0..=65535 (file "),
        ("PORT = 1.0\n", "'1.0' for '--port <PORT>': expected a whole number"),
        ("PORT = [1, 2]\n", "'1,2' for '--port <PORT>'"),
        ("HISTORY_RETENTION_DAYS = 0\n", "<HISTORY_RETENTION_DAYS>': 0 is not in 1..=36500 (file "),
        ("PUBLIC = 'all'\n", "<PUBLIC>': expected one of nothing, snapshot (file "),
        ("TICKET_KEY = { a = 1 }\n", "TICKET_KEY: expected a string, a number, a boolean or a list of them"),
        ("EXTRA_SUBJECTS = ['a,b']\n", "EXTRA_SUBJECTS: expected list items without commas"),
        ("\n\nJWT_SECRET = 'hush\n", "line 3: "),
        ("DATABASE_READERS = 'postgres://me:hush@db'\n", "invalid value for '--database-readers"),
    ] {
        let file = run.write("living-map.toml", text);
        for command in [&["serve"][..], &["config", "check"], &["streams", "check"]] {
            let output = run.run(&[command, &["--config", &file]].concat(), &[]);
            let error = text_of(&output);
            assert!(!output.status.success() && error.contains(expected), "{command:?}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
    let missing = run.run(&["serve", "--config", "missing.toml"], &[]);
    assert!(text_of(&missing).contains("LIVING_MAP_CONFIG: cannot read missing.toml"), "{}", text_of(&missing));
}

/// One file serves all commands: a setting of another command is no unknown key.
#[test]
fn a_file_may_have_settings_of_other_commands() {
    let run = Run::new();
    let file = run.write("living-map.toml", "PORT = 1\nALERT_MAX_RULES = 1\n");
    let rules = run.write("alerts.toml", "");
    let output = run.run(&["alerts", "check", &rules, "--config", &file], &[]);
    assert!(output.status.success(), "{}", text_of(&output));
}

#[test]
fn a_secret_is_read_from_its_file() {
    let run = Run::new();
    let key = "0123456789abcdef0123456789abcdef";
    let file = run.write("key", &format!("{key}\n"));
    let (value, origin) = run.shown("TICKET_KEY", &[], &[("TICKET_KEY_FILE", &file)]);
    assert_eq!((value.as_str(), origin), ("***", format!("TICKET_KEY_FILE {file}")));
    let config = run.write("living-map.toml", &format!("TICKET_KEY_FILE = '{file}'\n"));
    let (_, origin) = run.shown("TICKET_KEY", &["--config", &config], &[]);
    assert_eq!(origin, format!("TICKET_KEY_FILE {file}"));
    // a stronger layer decides
    let (_, origin) = run.shown("TICKET_KEY", &["--config", &config], &[("TICKET_KEY", key)]);
    assert_eq!(origin, "environment");
    let (_, origin) = run.shown("TICKET_KEY", &["--ticket-key-file", &file], &[("TICKET_KEY", key)]);
    assert_eq!(origin, format!("TICKET_KEY_FILE {file}"));
    // the value is the same as that of the variable: a key of 31 bytes is too short
    let short = run.write("short", &format!("{}\n", &key[1..]));
    let output = run.run(&["config", "check"], &[("TICKET_KEY_FILE", &short)]);
    assert!(text_of(&output).contains("TICKET_KEY: expected at least 32 bytes"), "{}", text_of(&output));
    // an empty variable counts as unset, as compose files have it
    let (_, origin) = run.shown("TICKET_KEY", &[], &[("TICKET_KEY_FILE", "")]);
    assert_eq!(origin, "default");
}

#[test]
fn a_secrets_file_that_cannot_be_used_is_named() {
    let run = Run::new();
    let file = run.write("token", "hush hush\n");
    let empty = run.write("empty", "\n");
    for (variables, expected) in [
        (&[("JWT_SECRET", "hush"), ("JWT_SECRET_FILE", &*file)][..], "JWT_SECRET and JWT_SECRET_FILE are both set"),
        (&[("DATABASE_URL_FILE", "missing")], "DATABASE_URL_FILE: cannot read missing"),
        (&[("NATS_URL_FILE", &empty)], &format!("NATS_URL_FILE: {empty} is empty")),
        (&[("AGENTS_TOKEN_FILE", &file)], "'--agents-token <AGENTS_TOKEN>': expected a token of visible ASCII"),
        (&[("OTEL_EXPORTER_OTLP_HEADERS_FILE", &file)], "name=value (OTEL_EXPORTER_OTLP_HEADERS_FILE"),
    ] {
        for command in [&["serve"][..], &["config", "check"], &["config", "show"]] {
            let output = run.run(command, variables);
            let error = text_of(&output);
            assert!(!output.status.success() && error.contains(expected), "{variables:?}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}

#[test]
fn show_masks_secrets_and_passwords_in_urls() {
    let run = Run::new();
    let variables = [
        ("DATABASE_URL", "postgres://me:hush@db/map?password=hush"),
        ("NATS_URL", "nats://hush@one:4222,nats://me:hush@two:4222"),
        ("AUTH_TOKENS", "hush:viewer:00"),
        ("AGENTS_SERVICE_URL", "https://me:hush@agents/"),
        ("AGENTS_TOKEN", "hush"),
        ("JWT_JWKS", "https://me:hush@issuer/keys?token=hush"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hush"),
        ("JOURNAL_URL", "/var/lib/journal"),
    ];
    for format in ["table", "toml"] {
        let text = text_of(&run.run(&["config", "show", "--format", format], &variables));
        assert!(!text.contains("hush"), "{text}");
        for shown in ["postgres://***@db/map?***", "nats://***@one:4222,nats://***@two:4222", "/var/lib/journal"] {
            assert!(text.contains(shown), "{shown}: {text}");
        }
    }
}

#[test]
fn show_prints_a_file_with_the_same_values() {
    let run = Run::new();
    let options = ["--port", "1", "--extra-subjects", "task.>,chat.*"];
    let first = run.run(&[&["config", "show", "--format", "toml"][..], &options].concat(), &[]);
    let file = run.write("living-map.toml", &String::from_utf8_lossy(&first.stdout));
    for (name, value) in [("PORT", "1"), ("EXTRA_SUBJECTS", "task.>,chat.*"), ("DATABASE_READERS", "8")] {
        assert_eq!(run.shown(name, &["--config", &file], &[]), (value.to_owned(), format!("file {file}")), "{name}");
    }
}

#[test]
fn check_finds_every_problem_without_a_start() {
    let run = Run::new();
    let rules = run.write("alerts.toml", "[[rule]]\nname = 1\n");
    let config = run.write("living-map.toml", "SYNC_INTERVAL_SECONDS = 0\nPORT = 'x'\n");
    let single = text_of(&run.run(&["config", "check", "--config", &config], &[("MAX_HEADERS", "1")]));
    for expected in ["<PORT>'", "<SYNC_INTERVAL_SECONDS>'", "<MAX_HEADERS>'"] {
        assert_eq!(single.lines().filter(|line| line.contains(expected)).count(), 1, "{expected}: {single}");
    }
    let variables = [
        ("BIND", "0.0.0.0"),
        ("JWT_SECRET", "hush"),
        ("DATABASE_URL", "mysql://me:hush@db"),
        ("NATS_URL", "nats://"),
        ("LEARNER_DATABASE_POOLER", "transaction"),
        ("LOG_LEVEL", "a=b=c"),
        ("ALERT_RULES", &rules),
        ("HISTORY_RETENTION_RULES", "task.>=1h"),
        ("SNAPSHOT_SAVE_MINUTES", "60"),
    ];
    let output = run.run(&["config", "check"], &variables);
    let together = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{together}");
    for expected in [
        "BIND=0.0.0.0 can be reached",
        "AUTH is not set",
        "DATABASE_URL",
        "NATS_URL",
        "LEARNER_DATABASE_POOLER requires LEARNER_DATABASE_URL",
        "LOG_LEVEL",
        "ALERT_RULES",
        "HISTORY_RETENTION_RULES",
    ] {
        assert!(together.contains(expected), "{expected}: {together}");
    }
    assert!(!together.contains("hush"), "{together}");
    assert!(!Path::new(&run.folder.path().join("living-map.db")).exists(), "it opened the database");
    let valid = run.run(&["config", "check", "--bind", "0.0.0.0", "--auth", "none"], &[]);
    assert!(valid.status.success() && text_of(&valid).contains("valid"), "{}", text_of(&valid));
}
