//! Authentication, from the settings.

use anyhow::{Context, ensure};

use crate::access::{Access, AccessConfig, Auth, JwtConfig, KeySource, Scheme, Tokens, Verification};
use crate::journal::Journal;
use crate::tasks::{Stage, Tasks};

/// Limit of the file of tokens, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Token verification, with the task that refreshes its keys; none if the server requires no tokens.
///
/// # Errors
/// The tokens, the secret or the keys are invalid.
pub fn start(config: &AccessConfig, journal: &Journal, tasks: &mut Tasks) -> anyhow::Result<Option<Access>> {
    let access = access(config, journal)?;
    if let Some(access) = access.clone() {
        tasks.spawn("keys", Stage::Working, |stop| access.keep_keys(stop));
    }
    Ok(access)
}

/// Authentication of callers; none where no token is required.
///
/// # Errors
/// The settings, or a file that they name, are not valid.
pub fn access(access: &AccessConfig, journal: &Journal) -> anyhow::Result<Option<Access>> {
    access.check().map_err(anyhow::Error::msg)?;
    let scheme = match access.auth {
        None | Some(Auth::None) => return Ok(None),
        Some(Auth::Token) => Scheme::Tokens(tokens(access)?),
        Some(Auth::Jwt) => Scheme::Jwt(JwtConfig {
            verification: verification(access)?,
            audience: access.jwt_audience.iter().map(|audience| audience.trim().to_owned()).collect(),
            issuer: access.jwt_issuer.clone(),
            leeway: access.jwt_leeway,
            role_claim: access.jwt_role_claim.clone(),
        }),
    };
    let variable = if access.jwt_secret.is_some() { "JWT_SECRET" } else { "JWT_JWKS" };
    Access::new(scheme, access.tickets.clone(), journal.clone())
        .with_context(|| format!("{variable} cannot be used"))
        .map(Some)
}

fn tokens(access: &AccessConfig) -> anyhow::Result<Tokens> {
    let file = match &access.tokens_file {
        Some(path) => {
            let size = std::fs::metadata(path).context("AUTH_TOKENS_FILE cannot be read")?.len();
            ensure!(size <= MAX_FILE_BYTES, "AUTH_TOKENS_FILE: expected at most {MAX_FILE_BYTES} bytes");
            std::fs::read_to_string(path).context("AUTH_TOKENS_FILE cannot be read")?
        }
        None => String::new(),
    };
    // the lines of the file first, so that the line number of an error is right for the file
    let lines = file.lines().chain(access.tokens.iter().map(String::as_str));
    Tokens::parse(lines).context("AUTH_TOKENS_FILE, followed by AUTH_TOKENS, cannot be used")
}

fn verification(access: &AccessConfig) -> anyhow::Result<Verification> {
    match (&access.jwt_secret, &access.jwt_jwks) {
        (None, Some(location)) => {
            let source = KeySource::parse(location).map_err(anyhow::Error::msg).context("JWT_JWKS cannot be used")?;
            Ok(Verification::Keys {
                source,
                refresh: access.jwt_jwks_refresh,
                ca_file: access.jwt_jwks_ca_file.clone(),
            })
        }
        (secret, _) => Ok(Verification::Secret(secret.clone().unwrap_or_default())),
    }
}
