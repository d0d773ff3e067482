//! Where alerts are sent: the `[[webhook]]` tables of the file of rules.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::{Host, Url};

use super::file::read;
use super::rules::{RuleError, is_name};
use crate::model::alert::{Alert, AlertSeverity};

/// The longest name of a destination, in bytes.
const MAX_NAME_BYTES: usize = 40;
/// Bytes of a key, as Standard Webhooks has them.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Keys of one destination: an old one and a new one, and some room.
const MAX_KEYS: usize = 4;

/// A key that messages are signed with. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// A key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The key itself, for the place where it is used.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// Where alerts are sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name: in metrics, in the error journal, and in the database.
    pub name: String,
    /// The address; it may have a secret in its path.
    pub url: Url,
    /// Each message is signed with each of them, so that a key can be changed without a gap.
    pub keys: Vec<SigningKey>,
    /// The least urgent alerts that it hears of.
    pub severity: AlertSeverity,
    /// Of which rules it hears; of all alerts when there are none.
    pub rules: Vec<String>,
}

impl Destination {
    /// Whether it is to hear of this alert.
    #[must_use]
    pub fn wants(&self, alert: &Alert) -> bool {
        alert.severity >= self.severity
            && (self.rules.is_empty() || alert.rule.as_ref().is_some_and(|rule| self.rules.contains(rule)))
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("name", &self.name)
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

/// A destination as the file has it: where its keys are, and not the keys.
#[derive(Debug, Clone)]
pub(super) struct Described {
    destination: Destination,
    keys: KeysAt,
}

#[derive(Debug, Clone)]
enum KeysAt {
    Variable(String),
    File(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
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

impl Described {
    /// Reads the tables of a file that has these `rules`.
    pub(super) fn parse(tables: Vec<toml::Value>, rules: &BTreeSet<String>, errors: &mut Vec<RuleError>) -> Vec<Self> {
        let (mut all, mut names) = (Vec::new(), BTreeSet::new());
        for (index, table) in tables.into_iter().enumerate() {
            let named = table.get("name").and_then(toml::Value::as_str).map(str::to_owned);
            let place = named.unwrap_or_else(|| format!("{}", index + 1));
            let mut wrong = |problem: String| errors.push(RuleError::of_webhook(&place, problem));
            match table.try_into::<Written>() {
                // the value may be an address with a secret
                Err(error) => wrong(error.message().trim().to_owned()),
                Ok(written) => match written.read(rules) {
                    Err(problems) => problems.into_iter().for_each(wrong),
                    Ok(read) if !names.insert(read.destination.name.clone()) => {
                        wrong("name: is there twice".to_owned());
                    }
                    Ok(read) => all.push(read),
                },
            }
        }
        all
    }

    /// The destination, with its keys as they are now.
    pub(super) fn resolve(&self) -> Result<Destination, RuleError> {
        let wrong = |problem: String| RuleError::of_webhook(&self.destination.name, problem);
        let text = match &self.keys {
            KeysAt::Variable(name) => {
                std::env::var(name).map_err(|_| wrong(format!("secret_env: the variable {name} is not set")))?
            }
            KeysAt::File(path) => {
                read(path).map_err(|problem| wrong(format!("secret_file: {}: {problem}", path.display())))?
            }
        };
        let keys: Option<Vec<_>> = text.split_whitespace().map(key).collect();
        let keys = keys.filter(|keys| (1..=MAX_KEYS).contains(&keys.len())).ok_or_else(|| {
            wrong(format!(
                "secret: expected 1 to {MAX_KEYS} of the form whsec_<base64 of {} to {} bytes>, between blanks",
                KEY_BYTES.start(),
                KEY_BYTES.end()
            ))
        })?;
        Ok(Destination { keys, ..self.destination.clone() })
    }
}

fn key(text: &str) -> Option<SigningKey> {
    let bytes = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    KEY_BYTES.contains(&bytes.len()).then_some(SigningKey(bytes))
}

impl Written {
    fn read(self, known: &BTreeSet<String>) -> Result<Described, Vec<String>> {
        let mut problems = Vec::new();
        let mut note = |problem: String| problems.push(problem);
        if !(1..=MAX_NAME_BYTES).contains(&self.name.len()) || !is_name(&self.name) {
            note(format!("name: expected 1 to {MAX_NAME_BYTES} of a-z, 0-9, '-' and '_'"));
        }
        let url = address(&self.url, self.allow_http).map_err(|problem| note(format!("url: {problem}"))).ok();
        let severity = self.severity.as_deref().unwrap_or("info").parse();
        let severity = severity.map_err(|error: String| note(format!("severity: {error}"))).ok();
        for rule in self.rules.iter().filter(|rule| !known.contains(*rule)) {
            note(format!("rules: there is no rule '{rule}'"));
        }
        let keys = match (self.secret_env, self.secret_file) {
            (Some(name), None) if !name.is_empty() => Some(KeysAt::Variable(name)),
            (None, Some(path)) => Some(KeysAt::File(path)),
            _ => {
                note("secret_env, secret_file: expected one of the two".to_owned());
                None
            }
        };
        match (url, severity, keys) {
            (Some(url), Some(severity), Some(keys)) if problems.is_empty() => {
                let Self { name, rules, .. } = self;
                let destination = Destination { name, url, keys: Vec::new(), severity, rules };
                Ok(Described { destination, keys })
            }
            _ => Err(problems),
        }
    }
}

/// An address that alerts may be sent to; what is wrong otherwise, without the address.
fn address(text: &str, allow_http: bool) -> Result<Url, String> {
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
        "http" => return Err("expected https; http is for loopback addresses, and where allow_http = true".to_owned()),
        _ => return Err("expected an https URL".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("expected a URL without user and password: messages are signed".to_owned());
    }
    if url.fragment().is_some() {
        return Err("expected a URL without fragment".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::{Rules, RulesLimits};

    fn errors(table: &str) -> Vec<String> {
        let text = format!("[[webhook]]\nname = \"ops\"\n{table}");
        let errors = Rules::parse(&text, RulesLimits::default()).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_is_https_or_loopback_and_tells_no_secret() {
        for (url, good) in [
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
            let result = address(url, false);
            assert_eq!(result.is_ok(), good, "{url}: {result:?}");
            assert!(!format!("{result:?}").contains("hunter2"), "{result:?}");
        }
        assert!(address("http://10.0.0.7/in", true).is_ok());
    }

    #[test]
    fn all_that_is_wrong_with_a_destination_is_said() {
        let said = errors("url = \"http://example.org\"\nseverity = \"loud\"\nrules = [\"none\"]");
        assert_eq!(said.len(), 4, "{said:?}");
        for (line, field) in said.iter().zip(["url", "severity", "rules", "secret_env, secret_file"]) {
            assert!(line.starts_with(&format!("webhook ops: {field}: ")), "{line}");
        }
        assert!(errors("url = 1")[0].starts_with("webhook ops: "));
        assert!(errors("url = \"https://x.org\"\ntoken = \"x\"")[0].contains("unknown field `token`"));
        let two = "url = \"https://x.org\"\nsecret_env = \"A\"\n[[webhook]]\nname = \"ops\"\nurl = \"https://x.org\"\nsecret_env = \"A\"";
        assert_eq!(errors(two), ["webhook ops: name: is there twice"]);
    }

    #[test]
    fn a_key_is_as_the_standard_has_it_and_is_not_shown() {
        let text = format!("whsec_{}", STANDARD.encode([7; 32]));
        let read = key(&text).unwrap();
        assert_eq!(read.expose(), [7; 32]);
        assert_eq!(format!("{read:?}"), "SigningKey(…)");
        for wrong in ["", "whsec_", "whsec_AAAA", &text[6..], &format!("whsec_{}", STANDARD.encode([7; 65]))] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
    }
}
