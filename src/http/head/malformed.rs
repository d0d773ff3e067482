//! Reasons for rejecting a request before it is routed.

use axum::http::StatusCode;

use crate::instruments::Limit;

/// Reason for rejecting a request before it is routed. The connection ends with the answer, since the end of a malformed
/// request is unknown. The text is shown to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not three words.
    #[error(
        "the request line is not a method, a target and a version with single spaces between them, as in 'GET / HTTP/1.1'"
    )]
    RequestLine,
    /// Another version of HTTP.
    #[error("the version is not HTTP/1.1 or HTTP/1.0")]
    Version,
    /// `CONNECT`.
    #[error("CONNECT: this server is not a proxy")]
    Connect,
    /// A character that must be percent-encoded, or a form of target that the method does not have.
    #[error(
        "the target is not a path with an optional query; other characters must be percent-encoded, and a fragment left out"
    )]
    Target,
    /// Longer than a URI can be.
    #[error("the target is too long")]
    TargetTooLong,
    /// An absolute target for another host than `Host`, or with user information.
    #[error("the target and the field 'Host' name different hosts")]
    OtherHost,
    /// CR or LF alone.
    #[error("a line does not end with CR LF, or contains one of them alone")]
    LineEnd,
    /// NUL or another control character.
    #[error("the head contains a control character")]
    Control,
    /// A field that continues on the next line.
    #[error("a line begins with a blank: fields must not continue on the next line")]
    Folded,
    /// Whitespace between a field's name and the colon.
    #[error("a field has a blank before its colon")]
    BlankBeforeColon,
    /// Neither a field nor the empty line.
    #[error("a line is not a field: expected a name, a colon and a value")]
    Field,
    /// More bytes than allowed.
    #[error("the request line and the fields are too large")]
    TooLarge,
    /// More fields than allowed.
    #[error("the request has too many fields")]
    TooManyFields,
    /// None in HTTP/1.1.
    #[error("the field 'Host' is missing")]
    NoHost,
    /// More than one.
    #[error("the field 'Host' occurs more than once")]
    TwoHosts,
    /// Not a host with an optional port.
    #[error("the field 'Host' is not a host with an optional port")]
    Host,
    /// More than one, or not a number.
    #[error("the field 'Content-Length' must occur once, with decimal digits only")]
    ContentLength,
    /// Both kinds of framing.
    #[error("the fields 'Content-Length' and 'Transfer-Encoding' exclude each other")]
    LengthAndCoding,
    /// Not exactly one `chunked`, or in HTTP/1.0.
    #[error("the field 'Transfer-Encoding' must occur once, as 'chunked', and in HTTP/1.1 only")]
    TransferEncoding,
    /// A coding that the server does not implement, and `chunked`.
    #[error("the only transfer coding that this server knows is 'chunked'")]
    UnknownCoding,
    /// A WebSocket handshake with a body, after which the first frame could not be found.
    #[error("a WebSocket handshake has no body")]
    HandshakeBody,
    /// The client closed the connection in the middle of a head.
    #[error("the connection ended inside the head")]
    Incomplete,
    /// The head was not complete in time.
    #[error("the head did not arrive in time")]
    TooSlow,
    /// Invalid framing of a chunked body.
    #[error("a chunk is not its size in hexadecimal digits, optional extensions, CR LF, its data and CR LF")]
    Chunk,
}

impl Malformed {
    /// Status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Connect | Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Limit of size that the request exceeds, if that is the reason.
    #[must_use]
    pub const fn limit(self) -> Option<Limit> {
        match self {
            Self::TooLarge | Self::TooManyFields => Some(Limit::Head),
            Self::TargetTooLong => Some(Limit::Uri),
            _ => None,
        }
    }

    /// Group of the reason; one of [`GROUPS`].
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::RequestLine | Self::Version | Self::Connect => "request_line",
            Self::Target | Self::TargetTooLong => "target",
            Self::NoHost | Self::TwoHosts | Self::Host | Self::OtherHost => "host",
            Self::ContentLength
            | Self::LengthAndCoding
            | Self::TransferEncoding
            | Self::UnknownCoding
            | Self::HandshakeBody
            | Self::Chunk => "framing",
            Self::LineEnd
            | Self::Control
            | Self::Folded
            | Self::BlankBeforeColon
            | Self::Field
            | Self::TooLarge
            | Self::TooManyFields => "field",
            Self::Incomplete | Self::TooSlow => "incomplete",
        }
    }
}

/// Labels of the metric of malformed requests.
pub const GROUPS: &[&str] = &["request_line", "target", "host", "field", "framing", "incomplete"];
