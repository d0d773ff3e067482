use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MAX: usize = 64;

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => bytes.push(0x80 | length),
        _ => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn decode(bytes: &[u8]) -> Result<Vec<Incoming>, Violation> {
    let mut decoder = Decoder::default();
    decoder.feed(bytes);
    all(&mut decoder)
}

fn all(decoder: &mut Decoder) -> Result<Vec<Incoming>, Violation> {
    let mut messages = Vec::new();
    while let Some(incoming) = decoder.next(MAX)? {
        messages.push(incoming);
    }
    Ok(messages)
}

#[test]
fn a_protocol_violation_is_rejected_with_its_code() {
    let unmasked = vec![0x81, 2, b'h', b'i'];
    let mut huge = vec![0x81, 0xff];
    huge.extend(u64::MAX.to_be_bytes());
    huge.extend([0; 4]);
    for (name, bytes, code) in [
        ("unmasked", unmasked, 1002),
        ("reserved bit", frame(0xc1, b"x"), 1002),
        ("reserved data opcode", frame(0x83, b"x"), 1002),
        ("reserved control opcode", frame(0x8b, b"x"), 1002),
        ("ping in fragments", frame(0x09, b"x"), 1002),
        ("long ping", frame(0x89, &[0; 126]), 1002),
        ("continuation of nothing", frame(0x80, b"x"), 1002),
        ("message in a message", [frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002),
        ("half a close code", frame(0x88, &[3]), 1002),
        ("close code 1005", frame(0x88, &1005_u16.to_be_bytes()), 1002),
        ("close code 0", frame(0x88, &[0, 0]), 1002),
        ("close reason", frame(0x88, &[3, 232, 0xff]), 1007),
        ("text", frame(0x81, &[0xff]), 1007),
        ("too long", frame(0x81, &[b'x'; MAX + 1]), 1009),
        ("too long in sum", [frame(0x01, &[b'x'; MAX]), frame(0x80, b"y")].concat(), 1009),
        ("absurdly long", huge, 1009),
    ] {
        assert_eq!(decode(&bytes).map_err(|violation| violation.reason.code()), Err(code), "{name}");
    }
}

#[test]
fn a_long_message_is_rejected_before_it_arrives() {
    let whole = frame(0x81, &[b'x'; MAX + 1]);
    assert!(decode(&whole[..8]).is_err());
}

#[test]
fn control_frames_may_arrive_between_fragments() {
    let bytes = [frame(0x01, b"a"), frame(0x89, b"p"), frame(0x00, b""), frame(0x80, "є".as_bytes())].concat();
    assert_eq!(decode(&bytes), Ok(vec![Incoming::Ping(b"p".to_vec()), Incoming::Text("aє".into())]));
}

#[derive(Debug, Clone)]
enum Sent {
    Text(String, Vec<usize>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text, cuts) => {
                let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
                cuts.sort_unstable();
                let ends: Vec<_> = cuts.iter().copied().chain([text.len()]).collect();
                let starts = std::iter::once(0).chain(cuts);
                let parts: Vec<_> = starts.zip(ends).map(|(start, end)| &text.as_bytes()[start..end]).collect();
                let last = parts.len() - 1;
                parts
                    .iter()
                    .enumerate()
                    .flat_map(|(n, part)| frame(u8::from(n == 0) | if n == last { 0x80 } else { 0 }, part))
                    .collect()
            }
            Self::Binary(bytes) => frame(0x82, bytes),
            Self::Ping(payload) => frame(0x89, payload),
            Self::Pong => frame(0x8a, b""),
            Self::Close(code) => frame(0x88, &code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec())),
        }
    }

    fn incoming(&self) -> Incoming {
        match self {
            Self::Text(text, _) => Incoming::Text(text.clone()),
            Self::Binary(_) => Incoming::Binary,
            Self::Ping(payload) => Incoming::Ping(payload.clone()),
            Self::Pong => Incoming::Pong,
            Self::Close(code) => Incoming::Close(*code),
        }
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        ("[a-zєї😀]{0,16}", vec(any::<usize>(), 0..4)).prop_map(|(text, cuts)| Sent::Text(text, cuts)),
        vec(any::<u8>(), 0..MAX).prop_map(Sent::Binary),
        vec(any::<u8>(), 0..=MAX_CONTROL_BYTES).prop_map(Sent::Ping),
        Just(Sent::Pong),
        proptest::option::of(3000_u16..5000).prop_map(Sent::Close),
    ]
}

proptest! {
    #[test]
    fn messages_are_decoded_for_any_split_of_their_bytes(messages in vec(sent(), 0..8), step in 1_usize..40) {
        let bytes: Vec<u8> = messages.iter().flat_map(Sent::bytes).collect();
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for part in bytes.chunks(step) {
            decoder.feed(part);
            got.extend(all(&mut decoder).unwrap());
        }
        let expected: Vec<_> = messages.iter().map(Sent::incoming).collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!((decoder.buffer.capacity(), decoder.message.is_none()), (0, true));
    }

    #[test]
    fn any_bytes_are_decoded_or_rejected_in_bounded_memory(parts in vec(vec(any::<u8>(), 0..50), 0..20)) {
        let mut decoder = Decoder::default();
        for part in parts {
            decoder.feed(&part);
            if all(&mut decoder).is_err() {
                break;
            }
            prop_assert!(decoder.buffer.len() <= 14 + MAX_CONTROL_BYTES.max(MAX));
            prop_assert!(decoder.message.as_ref().is_none_or(|(_, held)| held.len() <= MAX));
        }
    }
}
