//! DNS queries, written byte by byte: the lab must not share a library with what it tests.

/// Record type A.
pub const A: u16 = 1;
/// The pseudo-record of EDNS (RFC 6891 section 6.1).
const OPT: u16 = 41;
/// The EDNS option that means nothing (RFC 7830).
const PADDING: u16 = 12;
const CLASS_IN: u16 = 1;
/// Bytes of an OPT record without data, and of the head of an option in it.
const OPT_LEN: usize = 11;
const OPTION_HEAD: usize = 4;

/// A query for one name, with recursion desired, as every stub resolver sends it.
pub fn query(name: &str, qtype: u16) -> Vec<u8> {
    let mut bytes = header(id(name), 1);
    bytes.extend(encoded(name));
    bytes.extend(qtype.to_be_bytes());
    bytes.extend(CLASS_IN.to_be_bytes());
    bytes
}

/// The same with EDNS, padded to `size` bytes where it is shorter.
pub fn padded(name: &str, size: usize) -> Vec<u8> {
    let mut bytes = query(name, A);
    // One additional record.
    bytes[11] = 1;
    let padding = size.checked_sub(bytes.len() + OPT_LEN + OPTION_HEAD);
    let data = padding.map_or(0, |padding| OPTION_HEAD + padding);
    bytes.push(0);
    bytes.extend(OPT.to_be_bytes());
    // The class is the size of the answers that are welcome; the time to live holds flags.
    bytes.extend(1232_u16.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(length(data));
    if let Some(padding) = padding {
        bytes.extend(PADDING.to_be_bytes());
        bytes.extend(length(padding));
        bytes.resize(bytes.len() + padding, 0);
    }
    bytes
}

/// A message as it goes over TCP: its length first (RFC 1035 section 4.2.2).
pub fn prefixed(message: &[u8]) -> Vec<u8> {
    let mut bytes = length(message.len()).to_vec();
    bytes.extend(message);
    bytes
}

/// The head of a query that has this many questions.
pub fn header(id: u16, questions: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend(id.to_be_bytes());
    bytes.extend([0x01, 0x00]);
    bytes.extend(questions.to_be_bytes());
    bytes.extend([0; 6]);
    bytes
}

/// The labels of a name, with the root at their end.
pub fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = labels(name);
    bytes.push(0);
    bytes
}

/// The labels of a name without an end.
pub fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("a label is short"));
        bytes.extend(label.as_bytes());
    }
    bytes
}

/// A transaction id that follows from the name (FNV-1a, folded): a recording of a run can be read again.
pub fn id(name: &str) -> u16 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let [a, b, c, d] = hash.to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d])
}

fn length(len: usize) -> [u8; 2] {
    u16::try_from(len)
        .expect("a message has at most 65,535 bytes")
        .to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_as_the_standard_has_it() {
        let bytes = query("page.example", A);
        assert_eq!(bytes[2..12], [1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[12..], *b"\x04page\x07example\x00\x00\x01\x00\x01");
    }

    #[test]
    fn padding_makes_the_size_that_was_asked_for() {
        for size in [60, 512, 4096, 60_000] {
            assert_eq!(padded("page.example", size).len(), size);
        }
        assert_eq!(
            padded("page.example", 0).len(),
            query("page.example", A).len() + OPT_LEN
        );
        assert_eq!(prefixed(b"abc"), b"\x00\x03abc");
    }
}
