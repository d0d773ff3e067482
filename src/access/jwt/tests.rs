use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;

const SECRET: &str = "a secret of more than thirty-two bytes, for tests";

fn config(verification: Verification) -> JwtConfig {
    JwtConfig {
        verification,
        audience: vec!["living-map".into()],
        issuer: Some("https://issuer.example".into()),
        leeway: Duration::from_secs(10),
        role_claim: "role".into(),
    }
}

fn by_secret() -> Jwt {
    Jwt::new(config(Verification::Secret(SECRET.into())), Journal::default()).unwrap()
}

fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "sub": "sofia", "role": "operator", "aud": "living-map", "iss": "https://issuer.example",
        "exp": Utc::now().timestamp() + 60,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

fn signed(algorithm: Algorithm, secret: &[u8], changes: &Value) -> String {
    encode(&Header::new(algorithm), &claims(changes), &EncodingKey::from_secret(secret)).unwrap()
}

async fn verify(changes: Value) -> Result<Identity, Denied> {
    by_secret().authenticate(&signed(Algorithm::HS256, SECRET.as_bytes(), &changes)).await
}

#[tokio::test]
async fn a_token_has_a_name_a_role_and_an_expiry() {
    let end = Utc::now().timestamp() + 60;
    let sofia = verify(json!({"exp": end})).await.unwrap();
    assert_eq!((&*sofia.name, sofia.role), ("sofia", Role::Operator));
    assert_eq!(sofia.expires_at.unwrap().timestamp(), end + 10, "including the leeway");
}

#[tokio::test]
async fn invalid_tokens_are_denied() {
    let now = Utc::now().timestamp();
    for (changes, expected) in [
        (json!({"exp": now - 11}), Denied::Expired),
        (json!({"exp": null}), Denied::Malformed),
        (json!({"exp": "tomorrow"}), Denied::Malformed),
        (json!({"nbf": now + 60}), Denied::NotYet),
        (json!({"aud": "somebody-else"}), Denied::WrongIssuerOrAudience),
        (json!({"aud": null}), Denied::WrongIssuerOrAudience),
        (json!({"iss": "https://evil.example"}), Denied::WrongIssuerOrAudience),
        (json!({"iss": null}), Denied::WrongIssuerOrAudience),
        (json!({"role": null}), Denied::NoRole),
        (json!({"role": "king"}), Denied::NoRole),
        (json!({"role": {"admin": true}}), Denied::NoRole),
    ] {
        assert_eq!(verify(changes.clone()).await, Err(expected), "{changes}");
    }
    assert!(verify(json!({"exp": now - 5})).await.is_ok(), "within the leeway");
    for text in ["", "a.b.c", "lm_abc", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(by_secret().authenticate(text).await, Err(Denied::Malformed), "{text}");
    }
}

#[tokio::test]
async fn a_token_with_a_null_crit_is_denied() {
    let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "HS256", "crit": null})), part(&claims(&json!({}))));
    let signature =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256);
    let token = format!("{signed}.{}", signature.unwrap());
    assert_eq!(by_secret().authenticate(&token).await.unwrap_err(), Denied::Critical);
}

#[tokio::test]
async fn a_token_with_an_unknown_crit_is_denied() {
    for crit in [vec!["exp"], vec!["b64"], vec!["https://issuer.example/bound-to-device"], vec![]] {
        let crit = Some(crit.into_iter().map(str::to_owned).collect());
        let header = Header { crit, ..Header::new(Algorithm::HS256) };
        let token = encode(&header, &claims(&json!({})), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        assert_eq!(by_secret().authenticate(&token).await, Err(Denied::Critical), "{header:?}");
    }
}

#[tokio::test]
async fn the_highest_known_role_of_a_list_counts() {
    for (value, expected) in [
        (json!(["viewer", "publisher", "offline_access"]), Role::Publisher),
        (json!("profile viewer admin"), Role::Admin),
    ] {
        assert_eq!(verify(json!({"role": value})).await.unwrap().role, expected);
    }
    let nested = claims(&json!({"realm_access": {"roles": ["viewer"]}, "https://x.example/role": "admin"}));
    let nested = nested.as_object().unwrap();
    assert_eq!(role(nested, "realm_access.roles"), Some(Role::Viewer));
    assert_eq!(role(nested, "https://x.example/role"), Some(Role::Admin), "dots may be part of a name");
    assert_eq!(role(nested, "realm_access.none"), None);
}

#[tokio::test]
async fn another_secret_or_algorithm_is_denied() {
    for (algorithm, secret) in [
        (Algorithm::HS256, "another secret".as_bytes()),
        (Algorithm::HS384, SECRET.as_bytes()),
        (Algorithm::HS512, SECRET.as_bytes()),
    ] {
        let token = signed(algorithm, secret, &json!({}));
        assert_eq!(by_secret().authenticate(&token).await, Err(Denied::Unknown), "{algorithm:?}");
    }
    assert!(matches!(
        Jwt::new(config(Verification::Secret("too short".into())), Journal::default()),
        Err(InvalidAccess::ShortSecret)
    ));
}

/// Private keys, generated for each test.
fn private_keys() -> [(Algorithm, EncodingKey); 3] {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
    let random = aws_lc_rs::rand::SystemRandom::new();
    let rsa = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa: aws_lc_rs::encoding::Pkcs8V1Der = rsa.as_der().unwrap();
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ed = Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
    [
        (Algorithm::RS256, EncodingKey::from_rsa_der(pkcs1(rsa.as_ref()))),
        (Algorithm::ES256, EncodingKey::from_ec_der(ec.as_ref())),
        (Algorithm::EdDSA, EncodingKey::from_ed_der(ed.as_ref())),
    ]
}

/// The PKCS #1 key inside a PKCS #8 structure: the last field of the outer sequence.
fn pkcs1(pkcs8: &[u8]) -> &[u8] {
    let inner = pkcs8.windows(4).skip(4).position(|bytes| matches!(bytes, [0x30, 0x82, ..])).unwrap() + 4;
    &pkcs8[inner..]
}

fn set(keys: &[(&str, &Jwk)]) -> Value {
    let keys: Vec<Value> = keys
        .iter()
        .map(|(id, key)| {
            let mut key = serde_json::to_value(key).unwrap();
            key["kid"] = json!(id);
            key
        })
        .collect();
    json!({"keys": keys})
}

fn by_file(set: &Value) -> (Jwt, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set.to_string()).unwrap();
    let source = KeySource::File(file.path().to_owned());
    let jwt = Jwt::new(
        config(Verification::Keys { source, refresh: Duration::from_mins(5), ca_file: None }),
        Journal::default(),
    );
    (jwt.unwrap(), file)
}

fn signed_by(key: &EncodingKey, algorithm: Algorithm, id: Option<&str>) -> String {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, &claims(&json!({})), key).unwrap()
}

#[tokio::test]
async fn only_tokens_of_the_issuers_keys_are_accepted() {
    let keys = private_keys();
    let public: Vec<Jwk> = keys.iter().map(|(alg, key)| Jwk::from_encoding_key(key, *alg).unwrap()).collect();
    let (jwt, _file) = by_file(&set(&[("rsa", &public[0]), ("ec", &public[1]), ("ed", &public[2])]));
    let strangers = private_keys();
    for ((algorithm, key), id) in keys.iter().zip(["rsa", "ec", "ed"]) {
        for id in [Some(id), None] {
            let token = signed_by(key, *algorithm, id);
            assert_eq!(jwt.authenticate(&token).await.unwrap().role, Role::Operator, "{algorithm:?} {id:?}");
        }
        let (_, stranger) = strangers.iter().find(|(alg, _)| alg == algorithm).unwrap();
        for id in [Some(id), Some("unheard of"), None] {
            let token = signed_by(stranger, *algorithm, id);
            assert_eq!(jwt.authenticate(&token).await, Err(Denied::Unknown), "{algorithm:?} {id:?}");
        }
    }
}

#[tokio::test]
async fn public_keys_and_other_algorithms_cannot_sign() {
    let keys = private_keys();
    let rsa = Jwk::from_encoding_key(&keys[0].1, Algorithm::RS256).unwrap();
    let mut with_secret = set(&[("rsa", &rsa)]);
    let secret = json!({"kty": "oct", "kid": "oct", "alg": "HS256", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"});
    with_secret["keys"].as_array_mut().unwrap().push(secret);
    let (jwt, _file) = by_file(&with_secret);
    let modulus = with_secret["keys"][0]["n"].as_str().unwrap().to_owned();
    // public values used as the secret of HS256
    for known in [modulus.as_bytes(), with_secret["keys"][0].to_string().as_bytes(), b"secretsecretsecretsecretsecret"]
    {
        for id in [Some("rsa"), Some("oct"), None] {
            let token = signed_by(&EncodingKey::from_secret(known), Algorithm::HS256, id);
            assert_eq!(jwt.authenticate(&token).await, Err(Denied::Unknown));
        }
    }
    // another algorithm with the same key
    for algorithm in [Algorithm::RS512, Algorithm::PS256] {
        let token = signed_by(&keys[0].1, algorithm, Some("rsa"));
        assert_eq!(jwt.authenticate(&token).await, Err(Denied::Unknown), "{algorithm:?}");
    }
}

#[tokio::test]
async fn unusable_keys_are_skipped() {
    let keys = private_keys();
    let ed = Jwk::from_encoding_key(&keys[2].1, Algorithm::EdDSA).unwrap();
    let mut set = set(&[("ed", &ed)]);
    for odd in [json!({"kty": "AKP"}), json!(7), json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"})] {
        set["keys"].as_array_mut().unwrap().push(odd);
    }
    let (jwt, _file) = by_file(&set);
    assert_eq!(jwt.keys().unwrap().status().keys, 1);
    assert!(jwt.authenticate(&signed_by(&keys[2].1, Algorithm::EdDSA, Some("ed"))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_with_an_unknown_key_id_triggers_a_fetch() {
    let (old, new) = (private_keys(), private_keys());
    let public = |keys: &[(Algorithm, EncodingKey); 3]| Jwk::from_encoding_key(&keys[2].1, Algorithm::EdDSA).unwrap();
    let (jwt, file) = by_file(&set(&[("old", &public(&old))]));
    std::fs::write(file.path(), set(&[("new", &public(&new))]).to_string()).unwrap();
    assert!(jwt.authenticate(&signed_by(&new[2].1, Algorithm::EdDSA, Some("new"))).await.is_ok());
    let gone = jwt.authenticate(&signed_by(&old[2].1, Algorithm::EdDSA, Some("old"))).await;
    assert_eq!(gone, Err(Denied::Unknown));
    std::fs::write(file.path(), "not keys any more").unwrap();
    tokio::time::advance(Duration::from_secs(11)).await;
    let unheard = jwt.authenticate(&signed_by(&old[2].1, Algorithm::EdDSA, Some("unheard of"))).await;
    assert_eq!(unheard, Err(Denied::Unknown));
    assert!(jwt.keys().unwrap().status().error.is_some(), "the failure is reported");
    assert!(
        jwt.authenticate(&signed_by(&new[2].1, Algorithm::EdDSA, Some("new"))).await.is_ok(),
        "the last good keys stay in use"
    );
}
