//! nginx as a reverse proxy.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::daemon::{Daemon, Folder, accepts, free_port, program};
use super::wait::until;

/// Directives of a location that pass on the handshake of a WebSocket.
pub const UPGRADE: &str = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;";

/// An nginx with one server on a loopback port. Killed when dropped.
pub struct Nginx {
    _daemon: Daemon,
    folder: Folder,
    port: u16,
    scheme: &'static str,
}

impl Nginx {
    /// Starts nginx with these directives in its server, without TLS.
    pub async fn start(directives: &str) -> Self {
        Self::run(false, directives).await
    }

    /// Starts nginx with these directives in its server, with TLS; [`Nginx::ca_file`] certifies `localhost`.
    pub async fn start_with_tls(directives: &str) -> Self {
        Self::run(true, directives).await
    }

    async fn run(tls: bool, directives: &str) -> Self {
        let (folder, port) = (Folder::new("nginx"), free_port());
        let path = folder.path().display();
        let (listen, scheme) = if tls {
            write_certificates(&folder);
            let certificate = format!("ssl_certificate {path}/server.pem; ssl_certificate_key {path}/server.key;");
            (format!("listen 127.0.0.1:{port} ssl; {certificate}"), "https")
        } else {
            (format!("listen 127.0.0.1:{port};"), "http")
        };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {path}/{name};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n\
             access_log off;\n{temporary}\
             map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
             server {{\n{listen}\nproxy_http_version 1.1;\nproxy_buffering off;\n{directives}\n}}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(program("nginx", "NGINX_BIN", &[]));
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
        let daemon = Daemon::spawn("nginx", command, folder.path());
        until("nginx to listen", || async { accepts(port).await.ok() }).await;
        Self { _daemon: daemon, folder, port, scheme }
    }

    /// The port that it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Address followed by `path`: by the name `localhost` with TLS, otherwise by number.
    pub fn url(&self, path: &str) -> String {
        let host = if self.scheme == "https" { "localhost" } else { "127.0.0.1" };
        format!("{}://{host}:{}{path}", self.scheme, self.port)
    }

    /// Certificate of the authority that has signed the server's.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

/// Writes a private authority's certificate, and a certificate of `localhost` with its key.
fn write_certificates(folder: &Folder) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    for (name, text) in [("ca.pem", authority.pem()), ("server.pem", server.pem()), ("server.key", key.serialize_pem())]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
}
