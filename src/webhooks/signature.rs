//! Signatures as Standard Webhooks has them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::alerts::SigningKey;

/// The `webhook-signature` of a message: one for each key, between blanks.
pub(super) fn signature(keys: &[SigningKey], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let of = |key: &SigningKey| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), signed.as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    };
    keys.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's own libraries.
    #[test]
    fn it_is_the_standards() {
        let key = SigningKey::from_bytes(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(std::slice::from_ref(&key), id, 1_614_265_330, body), expected);
        assert_eq!(signature(&[key.clone(), key], id, 1_614_265_330, body), format!("{expected} {expected}"));
    }
}
