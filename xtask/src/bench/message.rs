//! DNS messages, written byte by byte.

/// Record type A and class IN (RFC 1035 section 3.2).
const A_IN: [u8; 4] = [0, 1, 0, 1];
const HEADER: usize = 12;
/// Where the digits of the name's first label begin: behind the label's length and the letter.
const DIGITS: usize = HEADER + 2;
const DIGIT_COUNT: usize = 8;
/// Response, recursion desired; recursion available (RFC 1035 section 4.1.1).
const RESPONSE: [u8; 2] = [0x81, 0x80];

/// The name of the query of this number.
pub fn name(number: u32) -> String {
    format!("q{number:08x}.bench.example")
}

/// A query that is made once and then changed from one name to the next.
pub struct Query(Vec<u8>);

impl Query {
    /// The query for the first name.
    pub fn new() -> Self {
        let mut bytes = vec![0, 0, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name(0).split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(A_IN);
        Self(bytes)
    }

    /// The query for the name of that number.
    pub fn numbered(&mut self, number: u32) -> &[u8] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.0[..2].copy_from_slice(&(number as u16).to_be_bytes());
        for (place, digit) in self.0[DIGITS..DIGITS + DIGIT_COUNT].iter_mut().enumerate() {
            *digit = HEX[(number >> (28 - 4 * place)) as usize & 0xf];
        }
        &self.0
    }
}

/// Turns a query into an answer with one address; nothing when there is no room for it or it is no query.
pub fn answer(buffer: &mut [u8], len: usize, address: [u8; 4]) -> Option<usize> {
    /// The name of the question again (RFC 1035 section 4.1.4), A, IN, 60 seconds, 4 bytes.
    const RECORD: [u8; 12] = [0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
    let end = len + RECORD.len() + address.len();
    if len < HEADER || end > buffer.len() {
        return None;
    }
    buffer[2..4].copy_from_slice(&RESPONSE);
    buffer[7] = 1;
    buffer[len..len + RECORD.len()].copy_from_slice(&RECORD);
    buffer[len + RECORD.len()..end].copy_from_slice(&address);
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_its_name() {
        let mut query = Query::new();
        let bytes = query.numbered(0x00c0_ffee);
        assert_eq!(bytes[..2], [0xff, 0xee]);
        assert_eq!(bytes[HEADER..HEADER + 10], *b"\x09q00c0ffee");
        assert_eq!(name(0x00c0_ffee), "q00c0ffee.bench.example");
        assert_eq!(bytes.len(), HEADER + name(0).len() + 2 + A_IN.len());
    }

    #[test]
    fn an_answer_has_room_or_is_none() {
        let mut buffer = [0; 64];
        let len = Query::new().numbered(7).len();
        buffer[..len].copy_from_slice(Query::new().numbered(7));
        assert_eq!(answer(&mut buffer, len, [10, 0, 0, 1]), Some(len + 16));
        assert_eq!(buffer[7], 1);
        assert_eq!(answer(&mut buffer, 60, [0; 4]), None);
        assert_eq!(answer(&mut buffer, 3, [0; 4]), None);
    }
}
