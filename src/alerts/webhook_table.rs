//! Parsing and validation of `[[webhook]]` tables, and reading of their signing keys.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::{Host, Url};

use super::destination::{Destination, SigningKey};
use super::error::RuleError;
use super::{name, text_file};

/// Length of a key, as specified by Standard Webhooks.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Keys of one destination: rotation takes two.
const MAX_KEYS: usize = 4;

/// A destination without its keys.
#[derive(Debug, Clone)]
pub(super) struct DestinationConfig {
    destination: Destination,
    keys: KeySource,
}

#[derive(Debug, Clone)]
enum KeySource {
    Variable(String),
    File(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookTable {
    name: String,
    url: String,
    secret_env: Option<String>,
    secret_file: Option<PathBuf>,
    severity: Option<String>,
    #[serde(default)]
    rules: Vec<String>,
    #[serde(default)]
    allow_http: bool,
}

/// Parses the tables of a file that has these `rules`.
pub(super) fn parse(
    tables: Vec<toml::Value>,
    rules: &BTreeSet<String>,
    errors: &mut Vec<RuleError>,
) -> Vec<DestinationConfig> {
    let (mut configs, mut names) = (Vec::new(), BTreeSet::new());
    for (index, table) in tables.into_iter().enumerate() {
        let place = name::of_table(&table, index);
        let mut wrong = |problem: String| errors.push(RuleError::of_webhook(&place, problem));
        match table.try_into::<WebhookTable>() {
            // only the message: the excerpt of the file may show a URL with a secret
            Err(error) => wrong(error.message().trim().to_owned()),
            Ok(table) => match table.validate(rules) {
                Err(problems) => problems.into_iter().for_each(wrong),
                Ok(config) if !names.insert(config.destination.name.clone()) => wrong(name::DUPLICATE.to_owned()),
                Ok(config) => configs.push(config),
            },
        }
    }
    configs
}

impl DestinationConfig {
    /// Reads the current keys.
    pub(super) fn resolve(&self) -> Result<Destination, RuleError> {
        let wrong = |problem: String| RuleError::of_webhook(&self.destination.name, problem);
        let text = match &self.keys {
            KeySource::Variable(name) => std::env::var(name)
                .map_err(|_| wrong(format!("secret_env: the environment variable {name} is not set")))?,
            KeySource::File(path) => {
                text_file::read(path).map_err(|problem| wrong(format!("secret_file: {}: {problem}", path.display())))?
            }
        };
        let keys: Option<Vec<_>> = text.split_whitespace().map(parse_key).collect();
        let keys = keys.filter(|keys| (1..=MAX_KEYS).contains(&keys.len())).ok_or_else(|| {
            wrong(format!(
                "secret: expected 1 to {MAX_KEYS} keys of the form whsec_<base64 of {} to {} bytes>, separated by spaces",
                KEY_BYTES.start(),
                KEY_BYTES.end()
            ))
        })?;
        Ok(Destination { keys, ..self.destination.clone() })
    }
}

fn parse_key(text: &str) -> Option<SigningKey> {
    let bytes = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    KEY_BYTES.contains(&bytes.len()).then(|| SigningKey::from_bytes(bytes))
}

impl WebhookTable {
    fn validate(self, known: &BTreeSet<String>) -> Result<DestinationConfig, Vec<String>> {
        let mut problems = Vec::new();
        if let Err(problem) = name::check(&self.name) {
            problems.push(problem);
        }
        let url =
            parse_url(&self.url, self.allow_http).map_err(|problem| problems.push(format!("url: {problem}"))).ok();
        let severity = self.severity.as_deref().unwrap_or("info").parse();
        let severity = severity.map_err(|error: String| problems.push(format!("severity: {error}"))).ok();
        for rule in self.rules.iter().filter(|rule| !known.contains(*rule)) {
            problems.push(format!("rules: there is no rule '{rule}'"));
        }
        let keys = match (self.secret_env, self.secret_file) {
            (Some(name), None) if !name.is_empty() => Some(KeySource::Variable(name)),
            (None, Some(path)) => Some(KeySource::File(path)),
            _ => {
                problems.push("secret_env, secret_file: expected exactly one of the two".to_owned());
                None
            }
        };
        match (url, severity, keys) {
            (Some(url), Some(severity), Some(keys)) if problems.is_empty() => {
                let Self { name, rules, .. } = self;
                let destination = Destination { name, url, keys: Vec::new(), severity, rules };
                Ok(DestinationConfig { destination, keys })
            }
            _ => Err(problems),
        }
    }
}

/// Parses and checks the URL of a destination. Errors do not quote the URL, which may contain a secret.
fn parse_url(text: &str, allow_http: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("expected an https URL: {error}"))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => return Err("expected an https URL with a host".to_owned()),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback || allow_http => {}
        "http" => return Err("expected https; http only for loopback addresses or with allow_http = true".to_owned()),
        _ => return Err("expected an https URL".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "expected a URL without user and password; messages are authenticated by their signature".to_owned()
        );
    }
    if url.fragment().is_some() {
        return Err("expected a URL without a fragment".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_https_or_loopback_and_errors_hide_them() {
        for (url, valid) in [
            ("https://hooks.example.org/in?x=1", true),
            ("http://127.0.0.1:9000/", true),
            ("http://[::1]:9000/", true),
            ("http://localhost/x", true),
            ("http://10.0.0.7/hunter2", false),
            ("http://localhost.example.org/hunter2", false),
            ("ftp://example.org/hunter2", false),
            ("https://me:hunter2@example.org/", false),
            ("https://example.org/#hunter2", false),
            ("hunter2", false),
        ] {
            let result = parse_url(url, false);
            assert_eq!(result.is_ok(), valid, "{url}: {result:?}");
            assert!(!format!("{result:?}").contains("hunter2"), "{result:?}");
        }
        assert!(parse_url("http://10.0.0.7/in", true).is_ok());
    }

    #[test]
    fn all_errors_of_a_webhook_are_reported() {
        let errors = |table: &str| -> Vec<String> {
            let file: toml::Table = toml::from_str(&format!("[[webhook]]\nname = \"ops\"\n{table}")).unwrap();
            let mut errors = Vec::new();
            parse(file["webhook"].as_array().unwrap().clone(), &BTreeSet::new(), &mut errors);
            errors.iter().map(ToString::to_string).collect()
        };
        let problems = errors("url = \"http://example.org\"\nseverity = \"loud\"\nrules = [\"none\"]");
        assert_eq!(problems.len(), 4, "{problems:?}");
        for (line, field) in problems.iter().zip(["url", "severity", "rules", "secret_env, secret_file"]) {
            assert!(line.starts_with(&format!("webhook ops: {field}: ")), "{line}");
        }
        assert!(errors("url = 1")[0].starts_with("webhook ops: "));
        assert!(errors("url = \"https://x.org\"\ntoken = \"x\"")[0].contains("unknown field `token`"));
        let two = "url = \"https://x.org\"\nsecret_env = \"A\"\n[[webhook]]\nname = \"ops\"\nurl = \"https://x.org\"\nsecret_env = \"A\"";
        assert_eq!(errors(two), ["webhook ops: name: is used twice"]);
    }

    #[test]
    fn keys_have_the_standards_form() {
        let text = format!("whsec_{}", STANDARD.encode([7; 32]));
        let key = parse_key(&text).unwrap();
        assert_eq!(key.expose(), [7; 32]);
        assert_eq!(format!("{key:?}"), "SigningKey(…)");
        for wrong in ["", "whsec_", "whsec_AAAA", &text[6..], &format!("whsec_{}", STANDARD.encode([7; 65]))] {
            assert_eq!(parse_key(wrong), None, "{wrong}");
        }
    }
}
