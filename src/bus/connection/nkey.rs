//! Nkeys: Ed25519 keys of NATS in their text form, base 32 with a prefix and a checksum.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

/// Alphabet of base 32 (RFC 4648), without padding.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// First five bits of a seed, in their place in the first byte: the letter `S`.
const SEED: u8 = 18 << 3;

/// Length of a raw key, in bytes.
const KEY_BYTES: usize = 32;

/// Reason why a text is not a seed. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSeed {
    /// Another letter or length than a seed has.
    #[error("expected an nkey seed, which begins with S and has 58 characters")]
    Form,
    /// The checksum is that of another text.
    #[error("the nkey seed is damaged: its checksum does not match")]
    Checksum,
}

/// A key pair from its seed.
pub struct KeyPair {
    pair: Ed25519KeyPair,
    /// Kind of its owner, such as user, as the first byte of the public key.
    kind: u8,
}

impl KeyPair {
    /// Reads a seed, `SU…` for a user.
    ///
    /// # Errors
    /// The text is not a seed.
    pub fn from_seed(text: &str) -> Result<Self, InvalidSeed> {
        let raw = decode(text.trim()).ok_or(InvalidSeed::Form)?;
        let (raw, checksum) = raw.split_last_chunk::<2>().ok_or(InvalidSeed::Form)?;
        let [first, second, seed @ ..] = raw else { return Err(InvalidSeed::Form) };
        if first & 0xf8 != SEED || seed.len() != KEY_BYTES {
            return Err(InvalidSeed::Form);
        }
        if crc16(raw) != u16::from_le_bytes(*checksum) {
            return Err(InvalidSeed::Checksum);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| InvalidSeed::Form)?;
        Ok(Self { pair, kind: (first & 7) << 5 | second >> 3 })
    }

    /// The public key in text form.
    #[must_use]
    pub fn public_key(&self) -> String {
        encode(&[&[self.kind], self.pair.public_key().as_ref()].concat())
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

/// The text form of a prefix and a key.
#[must_use]
pub fn encode(raw: &[u8]) -> String {
    let bytes = [raw, &crc16(raw).to_le_bytes()].concat();
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut waiting) = (0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(byte);
        waiting += 8;
        while waiting >= 5 {
            waiting -= 5;
            text.push(letter(bits >> waiting));
        }
    }
    if waiting > 0 {
        text.push(letter(bits << (5 - waiting)));
    }
    text
}

fn letter(bits: u32) -> char {
    char::from(ALPHABET[(bits & 31) as usize])
}

/// The bytes of a text in base 32; `None` for other letters.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut waiting) = (0_u32, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        bits = bits << 5 | u32::try_from(value).ok()?;
        waiting += 5;
        if waiting >= 8 {
            waiting -= 8;
            bytes.push((bits >> waiting).to_le_bytes()[0]);
        }
    }
    Some(bytes)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed from the documentation of async-nats.
    const SEED: &str = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";

    #[test]
    fn a_seed_has_its_public_key() {
        let pair = KeyPair::from_seed(&format!(" {SEED}\n")).unwrap();
        let public = pair.public_key();
        assert!(public.starts_with('U') && public.len() == 56, "{public}");
        let raw = decode(&public).unwrap();
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &raw[1..33]);
        key.verify(b"nonce", &pair.sign(b"nonce")).unwrap();
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in 0..40_u8 {
            let raw: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37) ^ length).collect();
            let decoded = decode(&encode(&raw)).unwrap();
            assert_eq!(decoded, [&raw[..], &crc16(&raw).to_le_bytes()].concat());
        }
    }

    #[test]
    fn other_texts_are_no_seeds() {
        let public = KeyPair::from_seed(SEED).unwrap().public_key();
        for text in ["", "SU", "not a seed", public.as_str(), &SEED[..50]] {
            assert!(matches!(KeyPair::from_seed(text), Err(InvalidSeed::Form)), "{text}");
        }
        let damaged = SEED.replace('Q', "R");
        assert!(matches!(KeyPair::from_seed(&damaged), Err(InvalidSeed::Checksum)));
    }
}
