//! Connections to NATS: each kind of credentials, with and without TLS, to one server and to several, over restarts.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use living_map::bus::connection::Identity;
use living_map::bus::connection::credentials::Credentials;
use living_map::bus::{Connection, NatsConfig, connect};

use super::support::daemon::{Folder, free_port};
use super::support::nats::NatsServer;
use super::support::nats_accounts::{Operator, user_nkey};
use super::support::tls::{Authority, Certificate, TlsProxy};
use super::support::wait::until;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Token,
    User,
    Nkey,
    Jwt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Plain,
    Tls,
    MutualTls,
}

/// What all servers and clients of a test share.
struct Fixture {
    authority: Authority,
    server: Certificate,
    client: Certificate,
    operator: Operator,
    folder: Folder,
}

impl Fixture {
    fn new() -> Self {
        let authority = Authority::new();
        let (server, client) = (authority.server(), authority.client("living-map"));
        Self { server, client, authority, operator: Operator::new(), folder: Folder::new("nats-access") }
    }

    /// Lines of the configuration of server `name`, and the credentials that it accepts.
    fn configuration(&self, kind: Kind, transport: Transport, name: &str) -> (String, Option<Credentials>) {
        let path = self.folder.path().join(format!("{kind:?}-{transport:?}-{name}"));
        let (mut lines, credentials) = match kind {
            Kind::None => (String::new(), None),
            Kind::Token => {
                let token = format!("token/{name}@");
                (format!("authorization {{ token: \"{token}\" }}"), Some(Credentials::Token(token)))
            }
            Kind::User => {
                let (user, password) = (format!("user-{name}"), "pass:word".to_owned());
                let lines = format!("authorization {{ user: \"{user}\", password: \"{password}\" }}");
                (lines, Some(Credentials::User { name: user, password }))
            }
            Kind::Nkey => {
                let (seed, public) = user_nkey();
                fs::write(&path, seed).unwrap();
                (format!("authorization {{ users: [{{ nkey: {public} }}] }}"), Some(Credentials::Nkey(path)))
            }
            Kind::Jwt => {
                fs::write(&path, self.operator.user()).unwrap();
                (self.operator.configuration(), Some(Credentials::Jwt(path)))
            }
        };
        if transport != Transport::Plain {
            let (certificate, key) = (self.server.certificate.display(), self.server.key.display());
            let verify = transport == Transport::MutualTls;
            let authority = self.authority.file();
            let _ = write!(
                lines,
                "\ntls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{authority}\", verify: {verify} }}"
            );
        }
        (lines, credentials)
    }

    /// A client's settings for `transport`, without credentials.
    fn client(&self, transport: Transport, url: String) -> NatsConfig {
        let identity = Identity { certificate: self.client.certificate.clone(), key: self.client.key.clone() };
        NatsConfig {
            url,
            ca_file: (transport != Transport::Plain).then(|| self.authority.file().into()),
            identity: (transport == Transport::MutualTls).then_some(identity),
            reconnect_min: Duration::from_millis(10),
            reconnect_max: Duration::from_millis(100),
            ..NatsConfig::default()
        }
    }
}

/// The address of a server with its credentials, for those that an address can have.
fn address(server: &NatsServer, credentials: Option<&Credentials>) -> String {
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let login = match credentials {
        Some(Credentials::Token(token)) => format!("{}@", encoded(token)),
        Some(Credentials::User { name, password }) => format!("{}:{}@", encoded(name), encoded(password)),
        _ => String::new(),
    };
    format!("nats://{login}127.0.0.1:{}", server.port())
}

/// Waits for connection number `connects`, and sends a message over it. Returns the port of the server.
async fn connected(what: &str, connection: &Connection, connects: u64) -> u16 {
    until(&format!("connection {connects}: {what}; {:?}", connection.last_error()), || async {
        let state = *connection.state().borrow();
        (state.connected && state.connects >= connects).then_some(())
    })
    .await;
    let client = connection.client();
    let mut received = client.subscribe("subject").await.unwrap();
    client.publish("subject", "message".into()).await.unwrap();
    let received = tokio::time::timeout(Duration::from_secs(10), received.next()).await;
    assert!(received.is_ok_and(|message| message.is_some()), "{what}: no message");
    client.server_info().port
}

/// One server, whose credentials are in the settings, and which restarts.
async fn one_address(fixture: &Fixture, kind: Kind, transport: Transport) {
    let what = format!("{kind:?}, {transport:?}, one address");
    let (lines, credentials) = fixture.configuration(kind, transport, "one");
    let mut server = NatsServer::start_core(&lines).await;
    let config = NatsConfig { credentials, ..fixture.client(transport, server.url()) };
    let connection = connect(&config).await.unwrap();
    connected(&what, &connection, 1).await;
    server.kill();
    server.restart().await;
    connected(&what, &connection, 2).await;
    connection.close().await;
    if kind != Kind::None {
        let connection = connect(&fixture.client(transport, server.url())).await.unwrap();
        let error = until("the rejection", async || connection.last_error()).await;
        assert!(error.contains("rejected the credentials"), "{what}: {error}");
        connection.close().await;
    }
}

/// Three servers, of which one does not run; each that does stops once. Their credentials are in their addresses, if an
/// address can have such.
async fn three_addresses(fixture: &Fixture, kind: Kind, transport: Transport) {
    let what = format!("{kind:?}, {transport:?}, three addresses");
    let ((lines, first), (other, second)) =
        (fixture.configuration(kind, transport, "first"), fixture.configuration(kind, transport, "second"));
    // an nkey is one of the settings, for all servers
    let other = if kind == Kind::Nkey { lines.clone() } else { other };
    let (one, two) = tokio::join!(NatsServer::start_core(&lines), NatsServer::start_core(&other));
    let addresses =
        [format!("nats://127.0.0.1:{}", free_port()), address(&one, first.as_ref()), address(&two, second.as_ref())];
    let credentials = first.filter(|_| matches!(kind, Kind::Nkey | Kind::Jwt));
    let config = NatsConfig { credentials, ..fixture.client(transport, addresses.join(",")) };
    let connection = connect(&config).await.unwrap();
    let mut servers = [one, two];
    let mut at = connected(&what, &connection, 1).await;
    for connects in 2..4 {
        let (mut here, elsewhere) = {
            let [one, two] = servers;
            if one.port() == at { (one, two) } else { (two, one) }
        };
        here.kill();
        at = connected(&what, &connection, connects).await;
        assert_eq!(at, elsewhere.port(), "{what}");
        here.restart().await;
        servers = [here, elsewhere];
    }
    connection.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_credentials_on_all_transports_over_restarts() {
    let fixture = &Fixture::new();
    for transport in [Transport::Plain, Transport::Tls, Transport::MutualTls] {
        let kinds = [Kind::None, Kind::Token, Kind::User, Kind::Nkey, Kind::Jwt];
        join_all(kinds.map(|kind| async move {
            let one = Box::pin(one_address(fixture, kind, transport));
            tokio::join!(one, Box::pin(three_addresses(fixture, kind, transport)));
        }))
        .await;
    }
}

/// The error of a connection that cannot be made.
async fn error_of(config: &NatsConfig) -> String {
    let connection = connect(config).await.unwrap();
    let error = until("an error", async || connection.last_error()).await;
    assert!(!connection.state().borrow().connected);
    connection.close().await;
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_error_names_the_missing_setting() {
    let fixture = Fixture::new();
    let (tls, _) = fixture.configuration(Kind::None, Transport::Tls, "one");
    let (mutual, _) = fixture.configuration(Kind::None, Transport::MutualTls, "one");
    let (tls, mutual, plain) =
        tokio::join!(NatsServer::start_core(&tls), NatsServer::start_core(&mutual), NatsServer::start_core(""));
    let error = error_of(&fixture.client(Transport::Plain, tls.url().replace("nats:", "tls:"))).await;
    assert!(error.contains("UnknownIssuer") && error.contains("NATS_CA_FILE"), "{error}");
    let error = error_of(&fixture.client(Transport::Tls, mutual.url())).await;
    assert!(error.contains("NATS_CERT_FILE"), "{error}");
    // a connection that was to be encrypted is not made without encryption
    error_of(&fixture.client(Transport::Tls, plain.url())).await;
    let error = error_of(&fixture.client(Transport::Plain, "nats://nowhere.invalid:4222".to_owned())).await;
    assert!(error.contains("nowhere.invalid:4222"), "{error}");
}

/// Files are read at each attempt: credentials and certificates expire and are replaced.
#[tokio::test(flavor = "multi_thread")]
async fn replaced_files_are_read_at_the_next_connect() {
    let fixture = Fixture::new();
    let (lines, credentials) = fixture.configuration(Kind::Nkey, Transport::Tls, "one");
    let Some(Credentials::Nkey(path)) = &credentials else { panic!("{credentials:?}") };
    let server = NatsServer::start_core(&lines).await;
    let seed = fs::read(path).unwrap();
    fs::write(path, user_nkey().0).unwrap();
    let authorities = fixture.folder.path().join("ca.pem");
    fs::copy(Authority::new().file(), &authorities).unwrap();
    let config = NatsConfig {
        credentials: credentials.clone(),
        ca_file: Some(authorities.clone()),
        ..fixture.client(Transport::Tls, server.url())
    };
    let connection = connect(&config).await.unwrap();
    let error = |part: &'static str| {
        let connection = connection.clone();
        until(part, move || {
            let error = connection.last_error();
            async move { error.filter(|error| error.contains(part)) }
        })
    };
    error("NATS_CA_FILE").await;
    fs::copy(fixture.authority.file(), &authorities).unwrap();
    error("rejected the credentials").await;
    fs::remove_file(path).unwrap();
    error("NATS_NKEY_FILE").await;
    fs::write(path, seed).unwrap();
    connected("new files", &connection, 1).await;
    connection.close().await;
}

/// nats-server 2.9 does not know `handshake_first`; a proxy that adds TLS behaves the same.
#[tokio::test(flavor = "multi_thread")]
async fn tls_before_the_first_message() {
    let fixture = Fixture::new();
    let server = NatsServer::start_core("").await;
    let proxy = TlsProxy::to(&format!("127.0.0.1:{}", server.port()), &fixture.server).await;
    let config = fixture.client(Transport::Tls, format!("tls://127.0.0.1:{}", proxy.port));
    let connection = connect(&NatsConfig { tls_first: true, ..config }).await.unwrap();
    connected("TLS first", &connection, 1).await;
    connection.close().await;
}

/// All commands with a connection of their own use the same settings, and secrets may be in files.
#[tokio::test(flavor = "multi_thread")]
async fn commands_use_the_settings_of_the_connection() {
    let fixture = Fixture::new();
    let (lines, _) = fixture.configuration(Kind::User, Transport::MutualTls, "one");
    let server = NatsServer::start_with(&lines).await;
    let password = fixture.folder.path().join("password");
    fs::write(&password, "pass:word\n").unwrap();
    let settings = [
        ("NATS_URL", server.url()),
        ("NATS_CA_FILE", fixture.authority.file()),
        ("NATS_CERT_FILE", fixture.client.certificate.display().to_string()),
        ("NATS_KEY_FILE", fixture.client.key.display().to_string()),
        ("NATS_USER", "user-one".to_owned()),
        ("NATS_PASSWORD_FILE", password.display().to_string()),
    ];
    let run = |arguments: &[&str], more: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_living-map"));
        command.args(arguments).current_dir(fixture.folder.path()).env_clear();
        command.envs(settings.iter().map(|(name, value)| (*name, value))).envs(more.iter().copied());
        let output = command.output().expect("the program starts");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    };
    for arguments in [&["config", "check"][..], &["streams", "apply"], &["streams", "check"], &["log", "new-epoch"]] {
        let (good, said) = run(arguments, &[]);
        assert!(good, "{arguments:?}: {said}");
    }
    let (good, said) = run(&["streams", "check"], &[("NATS_TOKEN", "hunter2")]);
    assert!(!good && said.contains("NATS_TOKEN") && said.contains("NATS_USER") && !said.contains("hunter2"), "{said}");
    let (good, said) = run(&["config", "check"], &[("NATS_CA_FILE", "/nowhere.pem")]);
    assert!(!good && said.contains("NATS_CA_FILE: /nowhere.pem cannot be read"), "{said}");
}

/// Requests of a domain have other subjects.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_domain_and_answers_on_a_prefix() {
    let folder = Folder::new("nats-domain");
    let lines = format!(
        "jetstream {{ domain: hub, store_dir: \"{}\" }}\nauthorization {{ users: [{{ user: a, password: b, permissions: {{\n\
         publish: [\"$JS.hub.API.>\", \"$JS.API.STREAM.INFO.>\"], subscribe: \"answers.map.>\" }} }}] }}",
        folder.path().display()
    );
    let server = NatsServer::start_core(&lines).await;
    let config = NatsConfig {
        url: server.url().replace("nats://", "nats://a:b@"),
        jetstream_domain: Some("hub".to_owned()),
        inbox_prefix: Some("answers.map".to_owned()),
        ..NatsConfig::default()
    };
    let connection = connect(&config).await.unwrap();
    assert!(living_map::bus::streams::info(&connection, "LIVING_MAP").await.unwrap().is_none());
    // the server reports a missing permission about the subject to which it maps that of the domain
    let begun = Instant::now();
    let denied = connection.api_request::<serde_json::Value>("STREAM.NAMES", &serde_json::json!({})).await;
    let error = denied.map(drop).unwrap_err().to_string();
    assert!(error.contains("publish to \"$JS.API.STREAM.NAMES\""), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    connection.close().await;
}
