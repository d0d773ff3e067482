use clap::Parser;

use super::*;
use crate::bus::NETWORK_PRESET;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    settings: Settings,
}

fn parse(arguments: &[&str]) -> Result<Settings, String> {
    Command::try_parse_from([&["test"], arguments].concat())
        .map(|command| command.settings)
        .map_err(|error| error.to_string())
}

#[test]
fn a_wrong_value_is_refused_with_its_name_and_what_was_expected() {
    for (arguments, name, expected) in [
        (["--port", "x"], "PORT", "invalid digit"),
        (["--port", "70000"], "PORT", "65535"),
        (["--bind", "here"], "BIND", "invalid IP address"),
        (["--auth", "some"], "AUTH", "none"),
        (["--sync-interval-seconds", "0"], "SYNC_INTERVAL_SECONDS", "a number of seconds"),
        (["--agents-service-url", "ftp://x"], "AGENTS_SERVICE_URL", "http://localhost:7014"),
        (["--extra-subjects", "a..b"], "EXTRA_SUBJECTS", "empty tokens"),
        (["--extra-subjects", ">"], "EXTRA_SUBJECTS", "begins with a name"),
        (["--extra-subjects", "*.>"], "EXTRA_SUBJECTS", "begins with a name"),
        (["--allowed-origins", "https://a.b/c"], "ALLOWED_ORIGINS", "https://a.b"),
        (["--allowed-hosts", "https://a.b"], "ALLOWED_HOSTS", "without scheme and port"),
        (["--allowed-hosts", "a.b,*"], "ALLOWED_HOSTS", "without scheme and port"),
        (["--history-retention-days", "0"], "HISTORY_RETENTION_DAYS", "1..=36500"),
        (["--history-retention-rules", "task.>"], "HISTORY_RETENTION_RULES", "task.created=7d"),
        (["--history-retention-rules", "task.>=30"], "HISTORY_RETENTION_RULES", "in hours or days"),
        (["--history-retention-rules", "task.>=0h"], "HISTORY_RETENTION_RULES", "in hours or days"),
        (["--history-retention-rules", "a..b=1d"], "HISTORY_RETENTION_RULES", "empty tokens"),
        (["--journal-retention-days", "0"], "JOURNAL_RETENTION_DAYS", "1..=36500"),
        (["--journal-flush-seconds", "x"], "JOURNAL_FLUSH_SECONDS", "a number of seconds"),
        (["--journal-max-pending", "0"], "JOURNAL_MAX_PENDING", "1..="),
        (["--upstream-max-bytes", "0"], "UPSTREAM_MAX_BYTES", "1024..="),
        (["--stream-ring-bytes", "0"], "STREAM_RING_BYTES", "65536.."),
        (["--stream-max-clients", "0"], "STREAM_MAX_CLIENTS", "1.."),
        (["--lease-seconds", "0"], "LEASE_SECONDS", "from 2 to 300"),
        (["--stop-seconds", "1.5"], "STOP_SECONDS", "from 5 to 3600"),
        (["--max-body-bytes", "0"], "MAX_BODY_BYTES", "1024..="),
        (["--trusted-proxies", "proxy"], "TRUSTED_PROXIES", "10.0.0.0/8"),
        (["--unlimited-addresses", "10.0.0.0/99"], "UNLIMITED_ADDRESSES", "10.0.0.0/8"),
        (["--public", "all"], "PUBLIC", "snapshot"),
        (["--jwt-leeway-seconds", "3600"], "JWT_LEEWAY_SECONDS", "0..=600"),
        (["--max-headers", "1"], "MAX_HEADERS", "10..=1000"),
        (["--max-batch-events", "0"], "MAX_BATCH_EVENTS", "1.."),
        (["--experience-error-threshold", "0"], "EXPERIENCE_ERROR_THRESHOLD", "1..="),
        (["--experience-ok-sample-pct", "101"], "EXPERIENCE_OK_SAMPLE_PCT", "from 0 to 100"),
        (["--experience-window-seconds", "x"], "EXPERIENCE_WINDOW_SECONDS", "a number of seconds"),
        (["--experience-chance-lessons-per-week", "0"], "EXPERIENCE_CHANCE_LESSONS_PER_WEEK", "a number above 0"),
        (["--experience-shared-min-pct", "101"], "EXPERIENCE_SHARED_MIN_PCT", "1..=100"),
        (["--lesson-subject", "lesson.>"], "LESSON_SUBJECT", "without wildcards"),
        (
            ["--otel-exporter-otlp-endpoint", "http://u:p@x"],
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (["--otel-exporter-otlp-headers", "token"], "OTEL_EXPORTER_OTLP_HEADERS", "name=value"),
        (["--otel-exporter-otlp-timeout", "0"], "OTEL_EXPORTER_OTLP_TIMEOUT", "milliseconds"),
        (["--otel-traces-sampler", "some"], "OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        (["--otel-traces-sampler-arg", "2"], "OTEL_TRACES_SAMPLER_ARG", "from 0 to 1"),
        (["--otel-bsp-max-queue-size", "0"], "OTEL_BSP_MAX_QUEUE_SIZE", "1..="),
    ] {
        let error = parse(&arguments).unwrap_err();
        assert!(error.contains(name) && error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn every_setting_has_an_environment_variable_of_its_flags_name() {
    use clap::CommandFactory;
    for argument in Command::command().get_arguments().filter(|argument| argument.get_id() != "help") {
        let flag = argument.get_long().unwrap().replace('-', "_").to_uppercase();
        assert_eq!(argument.get_env().unwrap().to_str(), Some(flag.as_str()));
        assert!(argument.get_help().is_some(), "{flag} says nothing in --help");
    }
}

/// The table of the README is a choice of settings; their defaults are those of the code.
#[test]
fn settings_of_the_readme_exist_with_their_defaults() {
    use clap::CommandFactory;
    let command = Command::command();
    let readme = include_str!("../../../README.md");
    let rows = readme.lines().skip_while(|line| *line != "## Settings").filter(|line| line.starts_with("| `"));
    let mut names = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for (index, name) in cells[1].split('`').skip(1).step_by(2).enumerate() {
            let setting = command.get_arguments().find(|argument| argument.get_id() == name);
            let setting = setting.unwrap_or_else(|| panic!("{name} is no setting"));
            let default = setting.get_default_values().first().and_then(|default| default.to_str());
            let shown = cells[2].split('`').skip(1).step_by(2).nth(index).map(|shown| shown.trim_end_matches('…'));
            let agree = match (default, shown) {
                (Some(default), Some(shown)) => default.starts_with(shown),
                (None, None) => cells[2].starts_with("unset"),
                _ => false,
            };
            assert!(agree, "{name}: {default:?} here, {shown:?} in the README");
            names += 1;
        }
    }
    assert!(names >= 10, "the search finds too little: {names}");
}

#[test]
fn blanks_around_the_commas_of_a_list_are_no_part_of_it() {
    let settings = parse(&["--extra-subjects", "task.>, chat.* ", "--allowed-origins", "http://a, http://b"]).unwrap();
    let patterns = settings.streams.extra_patterns();
    let subjects: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
    assert_eq!(subjects, ["task.>", "chat.*"]);
    assert_eq!(settings.serving.http.cors_origins, ["http://a", "http://b"]);
}

#[test]
fn the_network_preset_stands_beside_patterns() {
    let patterns = parse(&["--extra-subjects", "network,foo.>"]).unwrap().streams.extra_patterns();
    let subjects: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
    assert_eq!(subjects, [NETWORK_PRESET, &["foo.>"]].concat());
}

#[test]
fn bridge_subjects_need_nats() {
    let error = parse(&["--bridge-subjects", "rag.>"]).unwrap().problems().join("; ");
    assert!(error.contains("BRIDGE_SUBJECTS") && error.contains("NATS_URL"), "{error}");
    let with_nats = parse(&["--bridge-subjects", "rag.>", "--nats-url", "nats://localhost"]).unwrap();
    assert_eq!(with_nats.problems(), Vec::<String>::new());
}

#[test]
fn a_bind_that_others_can_reach_needs_auth_said() {
    assert!(parse(&["--bind", "::1"]).unwrap().problems().is_empty());
    let error = parse(&["--bind", "0.0.0.0"]).unwrap().problems().join("; ");
    assert!(error.contains("AUTH"), "{error}");
    assert!(parse(&["--bind", "0.0.0.0", "--auth", "none"]).unwrap().problems().is_empty());
}

#[test]
fn rules_of_retention_are_read_and_leave_time_for_a_restart() {
    let rules = |text| parse(&["--history-retention-rules", text]).unwrap().ingest.retention;
    let retention = rules("task.created=7d, task.*=48h,>=24h");
    let read: Vec<_> =
        retention.rules.iter().map(|(subjects, age)| (subjects.as_str(), age.as_secs() / 3_600)).collect();
    assert_eq!(read, [("task.created", 168), ("task.*", 48), (">", 24)]);
    assert_eq!(retention.check(Duration::from_mins(5)), Ok(()));
    let error = rules("task.>=1h").check(Duration::from_hours(1)).unwrap_err();
    assert!(error.contains("HISTORY_RETENTION_RULES") && error.contains("task.>"), "{error}");
    assert!(rules(&vec!["a=1d"; 33].join(",")).check(Duration::from_mins(5)).unwrap_err().contains("at most 32"));
}

#[test]
fn a_subject_of_lessons_that_the_log_does_not_record_is_added() {
    let subjects = |arguments: &[&str]| {
        let extra = parse(arguments).unwrap().resolved().streams.extra_patterns();
        extra.iter().map(|pattern| pattern.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(subjects(&[]), [] as [&str; 0]);
    assert_eq!(subjects(&["--lesson-subject", "lesson.new"]), ["lesson.new"]);
    assert_eq!(subjects(&["--lesson-subject", "lesson.new", "--extra-subjects", "lesson.>"]), ["lesson.>"]);
    assert_eq!(subjects(&["--lesson-subject", "lesson.new", "--lesson-publish-enabled", "false"]), [] as [&str; 0]);
}

#[test]
fn tokens_and_how_they_are_asked_for_fit_together() {
    let check = |arguments: &[&str]| parse(arguments).unwrap().access.check();
    let secret = ["--auth", "jwt", "--jwt-secret", "s"];
    for (arguments, fits) in [
        (&[][..], true),
        (&["--auth", "none", "--auth-tokens", "a:viewer:00"], true),
        (&["--auth-tokens", "a:viewer:00"], false),
        (&["--jwt-secret", "s"], false),
        (&["--auth", "token"], false),
        (&["--auth", "token", "--auth-tokens-file", "tokens"], true),
        (&["--auth", "jwt"], false),
        (&secret, true),
        (&[&secret[..], &["--jwt-jwks", "keys.json"]].concat(), false),
        (&["--ticket-key", "short"], false),
    ] {
        assert_eq!(check(arguments).is_ok(), fits, "{arguments:?}");
    }
}

#[test]
fn the_journal_is_beside_the_database_file() {
    for (url, folder) in [
        ("sqlite://living-map.db", "living-map-journal"),
        ("sqlite:///var/lib/a%20map/x.db?mode=rwc", "/var/lib/a map/living-map-journal"),
        ("sqlite:data/x.db", "data/living-map-journal"),
        ("postgres://me:hush@db/living_map", "living-map-journal"),
    ] {
        assert_eq!(journal_folder(url), Path::new(folder), "{url}");
    }
}
