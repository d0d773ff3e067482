//! Nkeys, and the JWTs of a NATS operator, its account and a user, as `nsc` makes them.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use living_map::bus::connection::nkey::{KeyPair, encode};
use serde_json::{Value, json};

/// First byte of a public key of each kind.
const OPERATOR: u8 = 14 << 3;
const ACCOUNT: u8 = 0;
const USER: u8 = 20 << 3;

/// First five bits of a seed.
const SEED: u8 = 18 << 3;

/// Makes a seed and its key pair.
fn generate(kind: u8) -> (String, KeyPair) {
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).unwrap();
    let seed = encode(&[&[SEED | kind >> 5, kind << 3][..], &key].concat());
    let pair = KeyPair::from_seed(&seed).unwrap();
    (seed, pair)
}

/// Makes the seed of a user's nkey. Returns it with the public key.
pub fn user_nkey() -> (String, String) {
    let (seed, pair) = generate(USER);
    (seed, pair.public_key())
}

/// An operator with one account.
pub struct Operator {
    account: KeyPair,
    jwt: String,
    account_jwt: String,
}

impl Operator {
    pub fn new() -> Self {
        let (operator, account) = (generate(OPERATOR).1, generate(ACCOUNT).1);
        let own = jwt(&operator, &operator.public_key(), &json!({"type": "operator", "version": 2}));
        let unlimited = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1});
        let claims = json!({"limits": unlimited, "default_permissions": {"pub": {}, "sub": {}},
            "type": "account", "version": 2});
        let account_jwt = jwt(&operator, &account.public_key(), &claims);
        Self { account, jwt: own, account_jwt }
    }

    /// Lines of a server's configuration that trust this operator.
    pub fn configuration(&self) -> String {
        let Self { account, jwt, account_jwt } = self;
        let account = account.public_key();
        format!("operator: {jwt}\nresolver: MEMORY\nresolver_preload: {{ {account}: {account_jwt} }}")
    }

    /// Makes a user of the account. Returns the text of its credentials file.
    pub fn user(&self) -> String {
        let (seed, user) = generate(USER);
        let claims = json!({"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2});
        let jwt = jwt(&self.account, &user.public_key(), &claims);
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// A token about `subject`, signed by `issuer`.
fn jwt(issuer: &KeyPair, subject: &str, claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let body = json!({"jti": subject, "iat": chrono::Utc::now().timestamp(), "iss": issuer.public_key(), "name": "test",
        "sub": subject, "nats": claims});
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&body));
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes())))
}
