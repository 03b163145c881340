//! One direction of a TCP connection, put in order.

/// Most bytes kept: a DNS message over TCP has at most 65,535, with its length prefix two more.
const MAX_BUFFERED: usize = 65_537;
/// Most segments kept that came ahead of their turn.
const MAX_AHEAD: usize = 16;

/// A segment that waits for its turn.
#[derive(Debug)]
struct Ahead {
    sequence: u32,
    payload: Vec<u8>,
    whole: bool,
}

/// Bytes in order, from the first segment that was seen.
#[derive(Debug, Default)]
pub struct Stream {
    /// Sequence number of the byte that is wanted next.
    next: Option<u32>,
    buffer: Vec<u8>,
    ahead: Vec<Ahead>,
    /// Bytes are missing for good: nothing after them can be read.
    broken: bool,
}

impl Stream {
    /// Takes a segment whose first byte has this sequence number. `whole` is false when its end was cut off.
    ///
    /// Retransmitted bytes are dropped, segments ahead of their turn wait for it.
    pub fn push(&mut self, sequence: u32, payload: &[u8], whole: bool) {
        if self.broken {
            return;
        }
        let next = *self.next.get_or_insert(sequence);
        // Sequence numbers wrap: the difference as a signed number tells before from after (RFC 9293 section 3.4).
        let distance = sequence.wrapping_sub(next).cast_signed();
        if distance > 0 {
            if self.ahead.len() < MAX_AHEAD && payload.len() <= MAX_BUFFERED {
                self.ahead.push(Ahead {
                    sequence,
                    payload: payload.to_vec(),
                    whole,
                });
            } else {
                self.broken = true;
            }
            return;
        }
        self.append(next, distance.unsigned_abs() as usize, payload, whole);
        while let Some(next) = self.next
            && !self.broken
            && let Some(index) = self
                .ahead
                .iter()
                .position(|ahead| ahead.sequence.wrapping_sub(next).cast_signed() <= 0)
        {
            let ahead = self.ahead.swap_remove(index);
            let known = next.wrapping_sub(ahead.sequence) as usize;
            self.append(next, known, &ahead.payload, ahead.whole);
        }
    }

    fn append(&mut self, next: u32, known: usize, payload: &[u8], whole: bool) {
        self.broken |= !whole;
        let Some(fresh) = payload.get(known..) else {
            return;
        };
        if self.buffer.len() + fresh.len() > MAX_BUFFERED {
            self.broken = true;
            return;
        }
        self.buffer.extend_from_slice(fresh);
        #[expect(clippy::cast_possible_truncation, reason = "bounded by MAX_BUFFERED")]
        let advance = fresh.len() as u32;
        self.next = Some(next.wrapping_add(advance));
    }

    /// The bytes that have not been taken.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether bytes are missing for good.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Takes the next message with a two-byte length before it (RFC 7766 section 8), when it is there as a whole.
    pub fn take_length_prefixed(&mut self) -> Option<Vec<u8>> {
        let prefix: [u8; 2] = self.buffer.first_chunk().copied()?;
        let end = 2 + usize::from(u16::from_be_bytes(prefix));
        let message = self.buffer.get(2..end)?.to_vec();
        self.buffer.drain(..end);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmissions_and_reordering_change_nothing() {
        let mut stream = Stream::default();
        stream.push(u32::MAX, b"ab", true);
        stream.push(u32::MAX, b"ab", true);
        stream.push(3, b"ef", true);
        stream.push(0, b"bcd", true);
        assert_eq!(stream.bytes(), b"abcdef");
        stream.push(1, b"cdefgh", true);
        assert_eq!(stream.bytes(), b"abcdefgh");
        assert!(!stream.is_broken());
    }

    #[test]
    fn messages_split_and_joined_come_out_whole() {
        let wire = b"\x00\x03one\x00\x05three\x00\x00";
        for cut in 0..wire.len() {
            let mut stream = Stream::default();
            stream.push(7, &wire[..cut], true);
            stream.push(7 + u32::try_from(cut).unwrap(), &wire[cut..], true);
            assert_eq!(stream.take_length_prefixed().unwrap(), b"one");
            assert_eq!(stream.take_length_prefixed().unwrap(), b"three");
            assert_eq!(stream.take_length_prefixed().unwrap(), b"");
            assert_eq!(stream.take_length_prefixed(), None);
        }
    }

    #[test]
    fn a_segment_that_is_cut_off_spoils_what_follows_and_nothing_before() {
        let mut stream = Stream::default();
        stream.push(0, b"a", true);
        stream.push(3, b"d", false);
        assert!(!stream.is_broken());
        stream.push(1, b"bc", true);
        assert_eq!(stream.bytes(), b"abcd");
        assert!(stream.is_broken());
        stream.push(4, b"e", true);
        assert_eq!(stream.bytes(), b"abcd");
    }

    #[test]
    fn a_flood_of_early_segments_is_bounded() {
        let mut stream = Stream::default();
        stream.push(0, b"x", true);
        for i in 0..100_u32 {
            stream.push(10 + i * 2, b"y", true);
        }
        assert!(stream.is_broken());
        assert!(stream.ahead.len() <= MAX_AHEAD);
    }
}
