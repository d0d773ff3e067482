//! Credentials of a connection: each kind, and the answer to a server's challenge.

use std::fmt;
use std::path::{Path, PathBuf};

use async_nats::{Auth, ServerAddr};
use percent_encoding::percent_decode_str;

use super::nkey::{InvalidSeed, KeyPair};
use crate::tls::{FileProblem, InvalidFile, read_file};

/// Setting of a credentials file.
pub(super) const CREDS_FILE: &str = "NATS_CREDS_FILE";
/// Setting of a file with an nkey seed.
pub(super) const NKEY_FILE: &str = "NATS_NKEY_FILE";

/// Credentials of one kind. Files are read at each attempt to connect, so that they can be replaced while the process runs.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token.
    Token(String),
    /// A user with a password.
    User {
        /// Name.
        name: String,
        /// Password.
        password: String,
    },
    /// A file with the seed of an nkey.
    Nkey(PathBuf),
    /// A credentials file: the JWT of a user, and the seed of its nkey.
    Jwt(PathBuf),
}

impl fmt::Debug for Credentials {
    // without the secrets
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::User { .. } => "User",
            Self::Nkey(_) => "Nkey",
            Self::Jwt(_) => "Jwt",
        })
    }
}

impl Credentials {
    /// The credentials in an address, percent-encoded: `nats://user:password@host`, `nats://token@host`.
    #[must_use]
    pub fn of_address(address: &ServerAddr) -> Option<Self> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        match (address.username(), address.password()) {
            (Some(name), Some(password)) => Some(Self::User { name: decoded(name), password: decoded(password) }),
            (Some(token), None) => Some(Self::Token(decoded(token))),
            (None, _) => None,
        }
    }

    /// The answer to the challenge of a server.
    ///
    /// # Errors
    /// The file cannot be read, or has no credentials.
    pub fn answer(&self, challenge: &[u8]) -> Result<Auth, InvalidFile> {
        let mut auth = Auth::new();
        match self {
            Self::Token(token) => auth.token = Some(token.clone()),
            Self::User { name, password } => {
                auth.username = Some(name.clone());
                auth.password = Some(password.clone());
            }
            Self::Nkey(path) => {
                let pair = read(NKEY_FILE, path, seed)?;
                auth.nkey = Some(pair.public_key());
                auth.signature = Some(pair.sign(challenge));
            }
            Self::Jwt(path) => {
                let (jwt, pair) = read(CREDS_FILE, path, jwt_and_seed)?;
                auth.jwt = Some(jwt);
                auth.signature = Some(pair.sign(challenge));
            }
        }
        Ok(auth)
    }
}

fn read<T>(
    setting: &'static str,
    path: &Path,
    parse: impl Fn(&str) -> Result<T, FileProblem>,
) -> Result<T, InvalidFile> {
    let content = read_file(path).and_then(|bytes| parse(&String::from_utf8_lossy(&bytes)));
    content.map_err(|problem| InvalidFile { setting, path: path.to_owned(), problem })
}

/// The first line that is a seed; other lines are comments and markers.
fn seed(text: &str) -> Result<KeyPair, FileProblem> {
    let line = text.lines().map(str::trim).find(|line| line.starts_with('S'));
    KeyPair::from_seed(line.unwrap_or_default()).map_err(invalid_seed)
}

/// The first two texts between markers, as `nsc` writes them.
fn jwt_and_seed(text: &str) -> Result<(String, KeyPair), FileProblem> {
    let (mut sections, mut inside) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("---") {
            inside = !inside;
            if inside {
                sections.push(String::new());
            }
        } else if inside && let Some(section) = sections.last_mut() {
            section.push_str(line);
        }
    }
    let [jwt, seed, ..] = sections.as_slice() else {
        let expected = "has no credentials; expected a user's JWT and an nkey seed, each between lines with dashes";
        return Err(FileProblem::Content(expected.to_owned()));
    };
    Ok((jwt.clone(), KeyPair::from_seed(seed).map_err(invalid_seed)?))
}

fn invalid_seed(error: InvalidSeed) -> FileProblem {
    FileProblem::Content(format!("cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";

    #[test]
    fn a_credentials_file_has_a_jwt_and_a_seed() {
        let text = format!(
            "-----BEGIN NATS USER JWT-----\r\nea.b-c_d\r\n------END NATS USER JWT------\r\n\r\n\
             ************* IMPORTANT *************\r\n\
             -----BEGIN USER NKEY SEED-----\r\n{SEED}\r\n------END USER NKEY SEED------\r\n"
        );
        let (jwt, pair) = jwt_and_seed(&text).unwrap();
        assert_eq!(jwt, "ea.b-c_d");
        assert_eq!(pair.public_key(), seed(&format!("# seed\n{SEED}\n")).unwrap().public_key());
    }

    #[test]
    fn an_invalid_file_is_described_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hunter2");
        std::fs::write(&path, "--- a ---\nhush\n--- b ---\n").unwrap();
        for (credentials, expected) in [
            (Credentials::Jwt(path.clone()), "NATS_CREDS_FILE"),
            (Credentials::Nkey(path.clone()), "NATS_NKEY_FILE"),
            (Credentials::Nkey(folder.path().join("nowhere")), "cannot be read"),
        ] {
            let Err(error) = credentials.answer(b"") else { panic!("{credentials:?}") };
            let error = error.to_string();
            assert!(error.contains(expected) && !error.contains("hush"), "{error}");
        }
    }
}
