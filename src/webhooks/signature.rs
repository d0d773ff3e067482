//! Message signatures, as specified by Standard Webhooks.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::alerts::SigningKey;

/// The `webhook-signature` header: one signature for each key, separated by spaces.
pub(super) fn signature(keys: &[SigningKey], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let sign = |key: &SigningKey| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), signed.as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    };
    keys.iter().map(sign).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the standard's reference libraries.
    #[test]
    fn signatures_match_the_standards_test_vector() {
        let key = SigningKey::from_bytes(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(std::slice::from_ref(&key), id, 1_614_265_330, body), expected);
        assert_eq!(signature(&[key.clone(), key], id, 1_614_265_330, body), format!("{expected} {expected}"));
    }
}
