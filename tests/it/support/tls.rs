//! A private certificate authority, and a proxy that adds TLS to a server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::daemon::Folder;

/// A certificate authority that no system trusts, with a folder for its files.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: Folder,
}

/// Files of a certificate and its key, in PEM form.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "private authority");
        let key = KeyPair::generate().unwrap();
        let folder = Folder::new("authority");
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// The authority's own certificate, in PEM form.
    pub fn file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// Issues a certificate for servers on the loopback interface.
    pub fn server(&self) -> Certificate {
        self.issue("server", &["127.0.0.1", "localhost"], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a certificate for a client.
    pub fn client(&self, name: &str) -> Certificate {
        self.issue(name, &[name], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, file: &str, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().unwrap();
        let issued = params.signed_by(&key, &self.issuer).unwrap();
        let path = |suffix: &str| self.folder.path().join(format!("{file}-{suffix}.pem"));
        let files = Certificate { certificate: path("certificate"), key: path("key") };
        fs::write(&files.certificate, issued.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        files
    }
}

/// A proxy on the loopback interface that accepts TLS and forwards to a server without it.
pub struct TlsProxy {
    pub port: u16,
}

impl TlsProxy {
    /// Starts a proxy to `server` (`127.0.0.1:<port>`).
    pub async fn to(server: &str, certificate: &Certificate) -> Self {
        let chain: Vec<_> =
            CertificateDer::pem_file_iter(&certificate.certificate).unwrap().collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, server) = (listener.local_addr().unwrap().port(), server.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, server) = (acceptor.clone(), server.clone());
                tokio::spawn(async move {
                    // a client that does not trust the certificate ends the handshake
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port }
    }

    /// Starts a proxy to the server of an `http://` URL. Returns the URL of the same path at the proxy.
    pub async fn to_url(url: &str, certificate: &Certificate) -> String {
        let rest = url.strip_prefix("http://").unwrap();
        let (server, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let proxy = Self::to(server, certificate).await;
        format!("https://127.0.0.1:{}{path}", proxy.port)
    }
}
