//! The client side of a WebSocket, as far as the measurement needs it.

use std::time::{SystemTime, UNIX_EPOCH};

/// A server without TLS.
#[derive(Debug, Clone)]
pub struct Target {
    /// Value of `Host`.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Address to connect to.
    pub address: std::net::SocketAddr,
}

impl Target {
    /// Reads an `http://` or `ws://` URL.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let url = url::Url::parse(text)?;
        anyhow::ensure!(matches!(url.scheme(), "http" | "ws"), "expected an http:// or ws:// URL, got {text}");
        let addresses = url.socket_addrs(|| Some(80))?;
        let address = *addresses.first().ok_or_else(|| anyhow::anyhow!("{text} has no address"))?;
        let host = url.authority().to_owned();
        let path = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        Ok(Self { host, path, address })
    }

    /// The request that switches to WebSocket.
    pub fn upgrade(&self) -> Vec<u8> {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.path, self.host
        )
        .into_bytes()
    }
}

/// Opcode of a frame, offset and length of its payload; `None` while the header is incomplete.
pub fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, start) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    Some((first & 0x0f, start, usize::try_from(length).ok()?))
}

/// A frame of at most 64 KiB, masked with zeros, which leave the payload unchanged.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0xfe);
            frame.extend(u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Key of the event number, as the receivers search for it.
pub const NUMBER: &[u8] = b"\"load_n\":";
/// Key of the time of publishing.
pub const MICROS: &[u8] = b"\"load_us\":";

/// Event `n` of a run, of about `bytes` bytes.
pub fn payload(n: u64, bytes: usize) -> serde_json::Value {
    serde_json::json!({"load_n": n, "load_pad": "x".repeat(bytes.saturating_sub(60)), "load_us": now_micros()})
}

/// The number after `key`, and the offset of its end.
pub fn number_after(bytes: &[u8], key: &[u8]) -> Option<(u64, usize)> {
    let start = find(bytes, key)? + key.len();
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&bytes[start..start + digits]).ok()?.parse().ok()?;
    Some((number, start + digits))
}

fn find(bytes: &[u8], key: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == key[0]) {
        if bytes[from + at..].starts_with(key) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// Microseconds since 1970.
pub fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
