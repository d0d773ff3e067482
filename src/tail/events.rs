//! Decoder of server-sent events (WHATWG HTML, 9.2), of which only the data matters: it has all that the other fields say.

/// Maximum size of an event, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// An event is larger than [`MAX_BYTES`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent an event of more than {MAX_BYTES} bytes")]
pub struct TooLarge;

/// Received bytes, and the data of the event that they begin.
#[derive(Debug, Default)]
pub struct Events {
    buffer: Vec<u8>,
    /// Bytes of the buffer that are decoded.
    decoded: usize,
    data: String,
}

impl Events {
    /// Adds received bytes. Call [`Events::next`] until it returns none before the next call.
    ///
    /// # Errors
    /// The event is too large.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        self.buffer.drain(..self.decoded);
        self.decoded = 0;
        if self.buffer.len() + self.data.len() + bytes.len() > MAX_BYTES {
            return Err(TooLarge);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Data of the next complete event.
    pub fn next(&mut self) -> Option<String> {
        loop {
            let rest = &self.buffer[self.decoded..];
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = String::from_utf8_lossy(&rest[..end]);
            let line = line.strip_suffix('\r').unwrap_or(&line);
            let data = line.strip_prefix("data:").map(|data| data.strip_prefix(' ').unwrap_or(data));
            if let Some(data) = data {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data);
            }
            let is_end = line.is_empty();
            self.decoded += end + 1;
            if is_end && !self.data.is_empty() {
                return Some(std::mem::take(&mut self.data));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_decoded_however_it_is_split() {
        let text =
            ":\n\nevent: ping\r\nid: 5f.1\r\ndata: {\"a\":\r\ndata: \"ї\"}\r\n\r\nretry: 5\n\ndata:x\n\ndata: cut";
        for size in 1..text.len() {
            let mut events = Events::default();
            let mut received = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                events.feed(chunk).unwrap();
                received.extend(std::iter::from_fn(|| events.next()));
            }
            assert_eq!(received, ["{\"a\":\n\"ї\"}", "x"], "in chunks of {size} bytes");
        }
    }

    #[test]
    fn an_endless_event_is_an_error() {
        let (mut events, chunk) = (Events::default(), vec![b'x'; 1 << 20]);
        let fed = std::iter::repeat_with(|| events.feed(&chunk)).take_while(Result::is_ok).count();
        assert_eq!(fed, MAX_BYTES >> 20);
    }
}
