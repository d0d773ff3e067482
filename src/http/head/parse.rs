//! Meaning of a complete head.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Limits, Malformed, target};

/// End of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After this number of bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// A valid head.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The head with a normalized target, if that differs from the received one.
    pub rewritten: Option<Bytes>,
    /// End of the body.
    pub framing: Framing,
    /// True for a request for a WebSocket.
    pub handshake: bool,
}

/// Fields that decide about a request's end and host.
#[derive(Default)]
struct Deciding<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    coding: Option<&'a [u8]>,
    websocket: bool,
}

/// Parses the bytes of a head from its method to the empty line, whose lines are valid.
///
/// # Errors
/// It is malformed or ambiguous.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Head, Malformed> {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    if words.clone().count() != 3 || words.any(<[u8]>::is_empty) {
        return Err(Malformed::RequestLine);
    }
    let mut fields = vec![httparse::EMPTY_HEADER; limits.fields];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes);
    let (Ok(httparse::Status::Complete(_)), Some(method), Some(path), Some(minor)) =
        (parsed, request.method, request.path, request.version)
    else {
        return Err(parsed.err().map_or(Malformed::RequestLine, |error| reason(error, request.method, line)));
    };
    let fields = Deciding::of(request.headers)?;
    if minor == 1 && fields.host.is_none() {
        return Err(Malformed::NoHost);
    }
    let framing = fields.framing(minor)?;
    let handshake = minor == 1 && fields.websocket;
    if handshake && framing != Framing::Length(0) {
        return Err(Malformed::HandshakeBody);
    }
    let rewritten = match target::normalize(method, path, fields.host)? {
        Cow::Borrowed(_) => None,
        Cow::Owned(target) => {
            let begin = method.len() + 1;
            let parts = [&bytes[..begin], target.as_bytes(), &bytes[begin + path.len()..]];
            Some(parts.concat().into())
        }
    };
    Ok(Head { rewritten, framing, handshake })
}

/// Reason for an error of `httparse`.
fn reason(error: httparse::Error, method: Option<&str>, line: &[u8]) -> Malformed {
    match error {
        httparse::Error::Token if method.is_some() => Malformed::Target,
        httparse::Error::Version if is_version(line) => Malformed::Version,
        httparse::Error::Token | httparse::Error::Version | httparse::Error::Status => Malformed::RequestLine,
        httparse::Error::TooManyHeaders => Malformed::TooManyFields,
        httparse::Error::NewLine => Malformed::LineEnd,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Malformed::Field,
    }
}

/// Returns true if the line ends with a version of HTTP.
fn is_version(line: &[u8]) -> bool {
    let version = line.rsplit(|byte| *byte == b' ').next().and_then(|word| word.strip_prefix(b"HTTP/"));
    matches!(version, Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit())
}

impl<'a> Deciding<'a> {
    fn of(fields: &[httparse::Header<'a>]) -> Result<Self, Malformed> {
        let mut deciding = Self::default();
        for httparse::Header { name, value } in fields {
            if name.eq_ignore_ascii_case("host") {
                if deciding.host.replace(value).is_some() {
                    return Err(Malformed::TwoHosts);
                }
                if !target::is_host(value) {
                    return Err(Malformed::Host);
                }
            } else if name.eq_ignore_ascii_case("content-length") {
                if deciding.length.replace(length(value)?).is_some() {
                    return Err(Malformed::ContentLength);
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if deciding.coding.replace(value).is_some() {
                    return Err(Malformed::TransferEncoding);
                }
            } else if name.eq_ignore_ascii_case("upgrade") {
                deciding.websocket |= value.to_ascii_lowercase().windows(9).any(|part| part == b"websocket");
            }
        }
        Ok(deciding)
    }

    fn framing(&self, minor: u8) -> Result<Framing, Malformed> {
        match (self.length, self.coding) {
            (Some(_), Some(_)) => Err(Malformed::LengthAndCoding),
            (length, None) => Ok(Framing::Length(length.unwrap_or(0))),
            (None, Some(coding)) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (None, Some(coding)) if minor == 1 && is_coded(coding) => Err(Malformed::UnknownCoding),
            (None, Some(_)) => Err(Malformed::TransferEncoding),
        }
    }
}

/// Value of `Content-Length`: decimal digits only, no sign, no list.
fn length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = value.iter().all(u8::is_ascii_digit).then_some(value);
    let text = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    // hyper reserves the largest numbers
    let length = text.and_then(|text| text.parse().ok()).filter(|length| *length <= i64::MAX.unsigned_abs());
    length.ok_or(Malformed::ContentLength)
}

/// Returns true for other codings followed by the only `chunked`, so that the body has an end.
fn is_coded(value: &[u8]) -> bool {
    let mut codings = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(is_chunked) && codings.all(|coding| !coding.is_empty() && !is_chunked(coding))
}
