//! Certificate authorities of the server.

use std::path::PathBuf;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::history::OpenError;
use crate::tls::{self, SYSTEM_CA_FILE};

/// Settings with the authorities of the server's certificate.
const AUTHORITIES: &str = "sslrootcert in the URL, PGSSLROOTCERT or else SSL_CERT_FILE";

/// Lets the connection trust the authorities of the system's file, if it verifies certificates and has no authorities of its own
/// (`sslrootcert`, `PGSSLROOTCERT`). sqlx knows those that are compiled in, and not the system's.
pub fn with_authorities(options: PgConnectOptions) -> Result<PgConnectOptions, OpenError> {
    if !matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
        return Ok(options);
    }
    let url = options.to_url_lossy();
    let own = url.query_pairs().find(|(name, _)| name == "sslrootcert").map(|(_, value)| value);
    let (setting, file) = match &own {
        // sqlx writes the path of a file so; another value is the certificates themselves
        Some(own) => ("sslrootcert", own.strip_prefix("file: ").map(PathBuf::from)),
        None => (SYSTEM_CA_FILE, std::env::var_os(SYSTEM_CA_FILE).map(PathBuf::from)),
    };
    let Some(file) = file else { return Ok(options) };
    tls::read_certificates(setting, &file).map_err(|error| OpenError::Url(error.to_string()))?;
    Ok(if own.is_some() { options } else { options.ssl_root_cert(file) })
}

/// An error of connecting, which names the settings of authorities if the server's is not trusted.
pub fn explained(error: sqlx::Error) -> sqlx::Error {
    let text = tls::with_causes(&error);
    let explanation = tls::explained(text.clone(), AUTHORITIES);
    if explanation == text { error } else { sqlx::Error::Configuration(explanation.into()) }
}
