use super::pieces::{LIMITS, Outcome};
use super::*;

/// Asserts that these bytes have the same outcome however they are cut. Returns what is released, and why the connection ends.
fn however_cut(bytes: &[u8]) -> (String, Option<Malformed>) {
    let expected = Outcome::of([bytes]);
    let check = |pieces: &[&[u8]]| {
        let outcome = Outcome::of(pieces.iter().copied());
        let text = bytes.escape_ascii();
        assert_eq!((outcome.rejected, outcome.failed), (expected.rejected, expected.failed), "{text}: {pieces:?}");
        if expected.failed.is_none() {
            assert_eq!(outcome.released, expected.released, "{text}: {pieces:?}");
        }
    };
    for cut in 0..bytes.len() {
        check(&[&bytes[..cut], &bytes[cut..]]);
    }
    check(&bytes.chunks(1).collect::<Vec<_>>());
    (String::from_utf8(expected.released).unwrap(), expected.rejected.or(expected.failed))
}

fn passes(bytes: &str) {
    assert_eq!(however_cut(bytes.as_bytes()), (bytes.to_owned(), None), "{bytes:?}");
}

/// Reason why these bytes are rejected, without a byte of them released.
#[track_caller]
fn rejected(bytes: &[u8]) -> Malformed {
    let (released, rejected) = however_cut(bytes);
    assert!(released.contains("Host: rejected.invalid"), "{}: {released:?}", bytes.escape_ascii());
    assert_eq!(released.matches("HTTP/1.1").count(), 1, "{}: {released:?}", bytes.escape_ascii());
    rejected.expect("a reason")
}

#[test]
fn well_formed_requests_pass_unchanged() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for request in [
        get.to_owned(),
        get.repeat(3),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "GET http://a.example:80/b?c HTTP/1.1\r\nHost: A.example:80\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_owned(),
        "GET /a%20b?c=d&e=[]{}|'` HTTP/1.1\r\nHost:\r\nEmpty:\r\nX:\ta \u{e4}\t b \r\n\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /{get}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{get}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n5;a=\"b\"\r\nGET /\r\n0\r\n\r\n{get}"),
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00a ;x\r\n0123456789\r\n0\r\nT: v\r\n\r\n{get}"
        ),
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n\r\n\u{1}\n\r frames".to_owned(),
    ] {
        passes(&request);
    }
}

#[test]
fn a_raw_wildcard_in_a_query_is_percent_encoded() {
    for (target, encoded) in [
        ("/history?event_type=agent.>", "/history?event_type=agent.%3E"),
        ("/?a=<\"b\">", "/?a=%3C%22b%22%3E"),
        ("/?\u{e4}=?", "/?%C3%A4=?"),
        ("http://a/?>", "http://a/?%3E"),
    ] {
        let request = |target| format!("GET {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n>");
        assert_eq!(however_cut(request(target).as_bytes()), (request(encoded), None));
    }
}

#[test]
fn empty_lines_before_a_request_are_dropped() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let received = format!("\r\n\r\n{get}\r\n{get}");
    assert_eq!(however_cut(received.as_bytes()), (get.repeat(2), None));
}

#[test]
fn malformed_request_lines_are_rejected() {
    use Malformed as M;
    for (line, reason) in [
        ("GET /", M::RequestLine),
        ("GET  / HTTP/1.1", M::RequestLine),
        ("GET / HTTP/1.1 ", M::RequestLine),
        ("GET /a b HTTP/1.1", M::RequestLine),
        ("GET / HTTP/11", M::RequestLine),
        ("GET / http/1.1", M::RequestLine),
        ("G(T / HTTP/1.1", M::RequestLine),
        (" GET / HTTP/1.1", M::RequestLine),
        ("GET\t/ HTTP/1.1", M::Control),
        ("GET /\0 HTTP/1.1", M::Control),
        ("GET / HTTP/2.0", M::Version),
        ("GET / HTTP/1.2", M::Version),
        ("GET a HTTP/1.1", M::Target),
        ("GET * HTTP/1.1", M::Target),
        ("GET /<a> HTTP/1.1", M::Target),
        ("GET /?a#b HTTP/1.1", M::Target),
        ("GET ftp://a/ HTTP/1.1", M::Target),
        ("GET http:/// HTTP/1.1", M::Target),
        ("GET http://b/ HTTP/1.1", M::OtherHost),
        ("GET http://u@a/ HTTP/1.1", M::OtherHost),
        ("CONNECT a:80 HTTP/1.1", M::Connect),
    ] {
        let request = format!("{line}\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(rejected(request.as_bytes()), reason, "{line:?}");
    }
    let invalid_utf8 = b"GET /?\xe4 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(rejected(invalid_utf8), M::Target);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000));
    let limits = Limits { bytes: 100_000, fields: 10 };
    assert_eq!(parse::parse(long.as_bytes(), limits), Err(M::TargetTooLong));
}

#[test]
fn malformed_fields_are_rejected() {
    use Malformed as M;
    for (fields, reason) in [
        ("X: a\r\n b\r\n", M::Folded),
        (" X: a\r\n", M::Folded),
        ("X : a\r\n", M::BlankBeforeColon),
        ("X\t: a\r\n", M::BlankBeforeColon),
        ("X\r\n", M::Field),
        (": a\r\n", M::Field),
        ("X[]: a\r\n", M::Field),
        ("X: a\n", M::LineEnd),
        ("X: a\rb\r\n", M::LineEnd),
        ("X: a\r\r\n", M::LineEnd),
        ("X: a\0b\r\n", M::Control),
        ("X: a\u{b}b\r\n", M::Control),
        ("X: a\u{7f}\r\n", M::Control),
        ("X\0: a\r\n", M::Control),
        ("Content-Length: +1\r\n", M::ContentLength),
        ("Content-Length: -1\r\n", M::ContentLength),
        ("Content-Length: 1, 1\r\n", M::ContentLength),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", M::ContentLength),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", M::ContentLength),
        ("Content-Length: 0x1\r\n", M::ContentLength),
        ("Content-Length: 1 1\r\n", M::ContentLength),
        ("Content-Length:\r\n", M::ContentLength),
        ("Content-Length: 9223372036854775808\r\n", M::ContentLength),
        ("Content-Length: 99999999999999999999\r\n", M::ContentLength),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", M::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", M::LengthAndCoding),
        ("Transfer-Encoding: chunked, chunked\r\n", M::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", M::TransferEncoding),
        ("Transfer-Encoding: chunked,\r\n", M::TransferEncoding),
        ("Transfer-Encoding: chunked;q=1\r\n", M::TransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", M::TransferEncoding),
        ("Transfer-Encoding: identity\r\n", M::TransferEncoding),
        ("Transfer-Encoding: chunked, gzip\r\n", M::TransferEncoding),
        ("Transfer-Encoding:\r\n", M::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", M::UnknownCoding),
        ("Host: a\r\n", M::TwoHosts),
        ("Upgrade: websocket\r\nContent-Length: 1\r\n", M::HandshakeBody),
        ("Upgrade: websocket\r\nTransfer-Encoding: chunked\r\n", M::HandshakeBody),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(rejected(request.as_bytes()), reason, "{fields:?}");
    }
    assert_eq!(rejected(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), M::TransferEncoding);
}

#[test]
fn a_missing_double_or_invalid_host_is_rejected() {
    use Malformed as M;
    for (version, fields, reason) in [
        ("1.1", "", M::NoHost),
        ("1.1", "Host: a\r\nhost: a\r\n", M::TwoHosts),
        ("1.0", "Host: a\r\nHost: b\r\n", M::TwoHosts),
        ("1.1", "Host: a b\r\n", M::Host),
        ("1.1", "Host: a,b\r\n", M::Host),
        ("1.1", "Host: u@a\r\n", M::Host),
        ("1.1", "Host: a/b\r\n", M::Host),
        ("1.1", "Host: http://a\r\n", M::Host),
        ("1.1", "Host: a:b\r\n", M::Host),
        ("1.1", "Host: a:1:2\r\n", M::Host),
        ("1.0", "Host: \u{e4}\r\n", M::Host),
    ] {
        assert_eq!(rejected(format!("GET / HTTP/{version}\r\n{fields}\r\n").as_bytes()), reason, "{fields:?}");
    }
}

#[test]
fn heads_beyond_the_limits_are_rejected() {
    let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let rejected = |text: &str| Outcome::of([text.as_bytes()]).rejected;
    assert_eq!(rejected(&head(&"X: y\r\n".repeat(19))), None);
    assert_eq!(rejected(&head(&"X: y\r\n".repeat(20))), Some(Malformed::TooManyFields));
    let field = |size: usize| format!("X: {}\r\n", "y".repeat(size - head("X: \r\n").len()));
    assert_eq!(rejected(&head(&field(8_192))), None);
    assert_eq!(rejected(&head(&field(8_193))), Some(Malformed::TooLarge));
    assert_eq!(rejected(&"\r\n".repeat(5_000)), Some(Malformed::TooLarge));
}

#[test]
fn malformed_chunks_end_the_connection() {
    for body in [
        "\r\n",
        ";a\r\n",
        " 1\r\na\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        "1 \r\na\r\n",
        "1\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n0\r\n\r\n",
        "1;a\nb\r\na\r\n",
        "1;a\rb\r\na\r\n",
        "1;\0\r\na\r\n",
        "00000000000000001\r\na\r\n",
        "g\r\n",
        "1 2\r\na\r\n",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\nGET /second HTTP/1.1\r\n\r\n"
        );
        let (released, reason) = however_cut(request.as_bytes());
        assert_eq!(reason, Some(Malformed::Chunk), "{body:?}");
        assert!(!released.contains("second"), "{body:?}: {released:?}");
    }
    for (trailers, reason) in
        [(" X: folded\r\n", Malformed::Folded), ("X : a\r\n", Malformed::BlankBeforeColon), ("X\n", Malformed::LineEnd)]
    {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}\r\n");
        assert_eq!(however_cut(request.as_bytes()).1, Some(reason), "{trailers:?}");
    }
}

#[test]
fn the_answer_to_a_malformed_request_is_the_last() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (released, rejected) = however_cut(format!("{get}HEAD\u{1}{get}").as_bytes());
    assert_eq!(rejected, Some(Malformed::Control));
    assert!(released.starts_with(get) && released.matches("HTTP/1.1").count() == 2, "{released:?}");
    let (head, _) = however_cut(b"HEAD  / HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HEAD / HTTP/1.1"), "an answer without a body: {head:?}");
}

#[test]
fn bytes_after_a_handshake_are_kept() {
    let mut messages = Messages::new(LIMITS);
    let handshake = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(messages.receive(&handshake[..10]), Ok(0));
    assert_eq!(messages.take(1_000).as_deref(), Ok(&b""[..]));
    assert!(messages.has_begun_head() && !messages.is_handshake());
    assert_eq!(messages.receive(&[&handshake[10..], b"frame"].concat()), Ok(0));
    assert_eq!(messages.take(1_000).as_deref(), Ok(&handshake[..]));
    assert!(messages.is_handshake());
    assert_eq!(messages.into_rest(), "frame");
}
