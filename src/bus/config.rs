//! Configuration of the connection to NATS, and of the streams on the server.

use std::fmt;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueHint};

use super::connection::credentials::Credentials;
use super::connection::{Identity, NatsConfig, NatsError};
use super::{NETWORK_PRESET, StreamDeclaration};
use crate::config::defaults;
use crate::model::subject::{Pattern, recorded_pattern};

/// Credentials, TLS and names of the connections to NATS.
#[derive(Clone, Args)]
#[command(next_help_heading = "NATS connection")]
pub struct NatsAccessConfig {
    /// Credentials file: a user's JWT and the seed of its nkey, as `nsc` writes it. Read at each connect.
    #[arg(id = "NATS_CREDS_FILE", env, long = "nats-creds-file", value_hint = ValueHint::FilePath)]
    pub creds_file: Option<PathBuf>,
    /// File with the seed of an nkey (`SU…`). Read at each connect.
    #[arg(id = "NATS_NKEY_FILE", env, long = "nats-nkey-file", value_hint = ValueHint::FilePath)]
    pub nkey_file: Option<PathBuf>,
    /// Token for NATS.
    #[arg(id = "NATS_TOKEN", env, long = "nats-token", hide_env_values = true)]
    pub token: Option<String>,
    /// User for NATS, with `NATS_PASSWORD`.
    #[arg(id = "NATS_USER", env, long = "nats-user", hide_env_values = true)]
    pub user: Option<String>,
    /// Password of `NATS_USER`.
    #[arg(id = "NATS_PASSWORD", env, long = "nats-password", hide_env_values = true)]
    pub password: Option<String>,
    /// File with certificate authorities (PEM) of the NATS servers, in place of those of the system. Only connections with TLS
    /// are made then. Read at each connect.
    #[arg(id = "NATS_CA_FILE", env, long = "nats-ca-file", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// File with the certificate (PEM) that this client shows to NATS servers, with `NATS_KEY_FILE`. Only connections with TLS
    /// are made then. Read at each connect.
    #[arg(id = "NATS_CERT_FILE", env, long = "nats-cert-file", value_hint = ValueHint::FilePath)]
    pub cert_file: Option<PathBuf>,
    /// File with the private key (PEM) of `NATS_CERT_FILE`.
    #[arg(id = "NATS_KEY_FILE", env, long = "nats-key-file", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
    /// Start TLS before the server's first message, for servers with `handshake_first` and for proxies that add TLS.
    #[arg(id = "NATS_TLS_FIRST", env, long = "nats-tls-first", default_value_t = false, action = clap::ArgAction::Set)]
    pub tls_first: bool,
    /// Prefix of the subjects on which answers arrive, instead of `_INBOX`, so that permissions can be narrowed to it.
    #[arg(id = "NATS_INBOX_PREFIX", env, long = "nats-inbox-prefix", value_parser = plain_subject)]
    pub inbox_prefix: Option<String>,
    /// `JetStream` domain of the streams. Unset: that of the server.
    #[arg(id = "NATS_JETSTREAM_DOMAIN", env, long = "nats-jetstream-domain", value_parser = token)]
    pub jetstream_domain: Option<String>,
}

impl NatsAccessConfig {
    /// The settings of a connection to the servers of `url`.
    ///
    /// # Errors
    /// Two kinds of credentials, or half of a pair; the message names the settings.
    pub fn connection(&self, url: &str) -> Result<NatsConfig, NatsError> {
        let identity = pair(("NATS_CERT_FILE", &self.cert_file), ("NATS_KEY_FILE", &self.key_file))?
            .map(|(certificate, key)| Identity { certificate, key });
        Ok(NatsConfig {
            url: url.to_owned(),
            credentials: self.credentials()?,
            ca_file: self.ca_file.clone(),
            identity,
            tls_first: self.tls_first,
            inbox_prefix: self.inbox_prefix.clone(),
            jetstream_domain: self.jetstream_domain.clone(),
            ..NatsConfig::default()
        })
    }

    fn credentials(&self) -> Result<Option<Credentials>, NatsError> {
        let user = pair(("NATS_USER", &self.user), ("NATS_PASSWORD", &self.password))?;
        let set: Vec<(&str, Credentials)> = [
            ("NATS_CREDS_FILE", self.creds_file.clone().map(Credentials::Jwt)),
            ("NATS_NKEY_FILE", self.nkey_file.clone().map(Credentials::Nkey)),
            ("NATS_TOKEN", self.token.clone().map(Credentials::Token)),
            ("NATS_USER", user.map(|(name, password)| Credentials::User { name, password })),
        ]
        .into_iter()
        .filter_map(|(name, credentials)| Some((name, credentials?)))
        .collect();
        if let [(one, _), (other, _), ..] = set.as_slice() {
            return Err(NatsError::Contradiction(format!("{one} and {other}: expected one kind of credentials")));
        }
        Ok(set.into_iter().next().map(|(_, credentials)| credentials))
    }
}

/// Two settings of which each needs the other one.
fn pair<T: Clone>(
    (first, one): (&str, &Option<T>),
    (second, other): (&str, &Option<T>),
) -> Result<Option<(T, T)>, NatsError> {
    match (one, other) {
        (Some(one), Some(other)) => Ok(Some((one.clone(), other.clone()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(NatsError::Contradiction(format!("{first} needs {second}"))),
        (None, Some(_)) => Err(NatsError::Contradiction(format!("{second} needs {first}"))),
    }
}

fn plain_subject(text: &str) -> Result<String, String> {
    let plain = text.split('.').all(|part| token(part).is_ok());
    if plain {
        Ok(text.to_owned())
    } else {
        Err("expected a subject without wildcards, such as _INBOX_living_map".to_owned())
    }
}

fn token(text: &str) -> Result<String, String> {
    let invalid = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>');
    if text.is_empty() || text.contains(invalid) {
        return Err("expected a name without dots, blanks and wildcards".to_owned());
    }
    Ok(text.to_owned())
}

/// The NATS server, the subjects of the log, and the management of streams.
#[derive(Clone, Args)]
#[command(next_help_heading = "Log and history")]
pub struct StreamsConfig {
    /// NATS server with `JetStream`, `nats://host:4222`; several separated by commas. Unset: the log is a table in the
    /// database, for one server only.
    #[arg(id = "NATS_URL", env, long = "nats-url", hide_env_values = true, value_hint = ValueHint::Url)]
    pub nats_url: Option<String>,
    /// Subjects to record in addition to those of the map: patterns separated by commas (`chat.message.*,task.>`), or `network`
    /// for all that larger networks publish besides. No other stream can claim a subject that the log records.
    #[arg(id = "EXTRA_SUBJECTS", env, long = "extra-subjects", value_delimiter = ',', value_parser = extra_subjects)]
    pub extra_subjects: Vec<ExtraSubjects>,
    /// Whether missing streams are created, and missing subjects and sources added. `false`: differences are only reported,
    /// and `living-map streams apply` is run with an account that may. No message is ever removed from a stream.
    #[arg(id = "NATS_MANAGE_STREAMS", env, long = "nats-manage-streams", default_value_t = true,
        action = clap::ArgAction::Set)]
    pub manage: bool,
    /// Replicas of each stream that is created, on as many servers of a NATS cluster. An existing stream keeps its own.
    #[arg(id = "NATS_STREAM_REPLICAS", env, long = "nats-stream-replicas", default_value_t = 1,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=5))]
    pub replicas: usize,
    /// Credentials, TLS and names of the connection.
    #[command(flatten)]
    pub access: NatsAccessConfig,
}

impl StreamsConfig {
    /// The settings of a connection to `NATS_URL`; `None` if it is not set.
    ///
    /// # Errors
    /// See [`NatsAccessConfig::connection`].
    pub fn connection(&self) -> Result<Option<NatsConfig>, NatsError> {
        self.nats_url.as_deref().map(|url| self.access.connection(url)).transpose()
    }

    /// The log's stream, and the network's other streams.
    #[must_use]
    pub fn declared(&self) -> (StreamDeclaration, Vec<StreamDeclaration>) {
        let log = StreamDeclaration::living_map(&self.extra_patterns(), self.replicas);
        (log, StreamDeclaration::network(self.replicas))
    }

    /// The patterns of [`Self::extra_subjects`].
    #[must_use]
    pub fn extra_patterns(&self) -> Vec<Pattern> {
        let patterns = |item: &ExtraSubjects| match item {
            ExtraSubjects::Network => NETWORK_PRESET.iter().filter_map(|subject| subject.parse().ok()).collect(),
            ExtraSubjects::Pattern(pattern) => vec![pattern.clone()],
        };
        self.extra_subjects.iter().flat_map(patterns).collect()
    }
}

/// An item of `EXTRA_SUBJECTS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtraSubjects {
    /// The preset `network`, [`NETWORK_PRESET`].
    Network,
    /// A pattern.
    Pattern(Pattern),
}

/// Value parser of an item of `EXTRA_SUBJECTS`.
fn extra_subjects(text: &str) -> Result<ExtraSubjects, String> {
    match text.trim() {
        "network" => Ok(ExtraSubjects::Network),
        text => recorded_pattern(text).map(ExtraSubjects::Pattern),
    }
}

impl Default for StreamsConfig {
    fn default() -> Self {
        defaults()
    }
}

impl fmt::Debug for StreamsConfig {
    // the URL may contain a password
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamsConfig")
            .field("manage", &self.manage)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

impl Default for NatsAccessConfig {
    fn default() -> Self {
        defaults()
    }
}

impl fmt::Debug for NatsAccessConfig {
    // without the secrets
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsAccessConfig")
            .field("ca_file", &self.ca_file)
            .field("inbox_prefix", &self.inbox_prefix)
            .field("jetstream_domain", &self.jetstream_domain)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = dyn Fn(&mut NatsAccessConfig);

    fn text(value: &str) -> String {
        value.to_owned()
    }

    #[test]
    fn contradictory_credentials_name_both_settings() {
        let config = |change: &Change| {
            let mut config = NatsAccessConfig::default();
            change(&mut config);
            config.connection("nats://a").err().map(|error| error.to_string())
        };
        assert_eq!(config(&|_| {}), None);
        let cases: [(&Change, [&str; 2]); 5] = [
            (&|c| (c.token, c.creds_file) = (Some(text("hush")), Some("a".into())), ["NATS_CREDS_FILE", "NATS_TOKEN"]),
            (
                &|c| (c.user, c.password, c.nkey_file) = (Some(text("a")), Some(text("hush")), Some("a".into())),
                ["NATS_USER", "NATS_NKEY_FILE"],
            ),
            (&|c| c.user = Some(text("hush")), ["NATS_USER", "NATS_PASSWORD"]),
            (&|c| c.password = Some(text("hush")), ["NATS_USER", "NATS_PASSWORD"]),
            (&|c| c.key_file = Some("hush".into()), ["NATS_KEY_FILE", "NATS_CERT_FILE"]),
        ];
        for (change, names) in cases {
            let error = config(change).expect("an error");
            assert!(names.iter().all(|name| error.contains(name)) && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn prefixes_and_domains_have_no_wildcards() {
        for valid in ["_INBOX_x", "a.b"] {
            assert!(plain_subject(valid).is_ok(), "{valid}");
        }
        for invalid in ["", "a.", ".a", "a.*", "a.>", "a b"] {
            assert!(plain_subject(invalid).is_err(), "{invalid}");
        }
        assert!(token("hub").is_ok() && token("hub.x").is_err());
    }
}
