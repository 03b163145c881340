//! What the C library asks of nscd over /var/run/nscd/socket (glibc, nscd/nscd-client.h): a header of three 32-bit numbers
//! in the machine's own byte order, and a key. glibc sends both at once (`__nscd_open_socket`, nscd/nscd_helper.c).
//!
//! A program that maps nscd's cache finds what is there without asking.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    WireError,
    dns::{Question, address_questions, reverse_question},
};

/// `NSCD_VERSION`.
const VERSION: i32 = 2;
/// `MAXKEYLEN`: nscd hangs up on whoever sends a longer one.
const MAX_KEY: usize = 1024;
/// `LASTREQ`: the first number that is no request.
const END_OF_TYPES: i32 = 22;

/// The `request_type`s that look up hosts. All others are about users, groups, services and nscd itself.
mod kind {
    /// An IPv4 address of a name.
    pub const GETHOSTBYNAME: i32 = 4;
    /// An IPv6 address of a name.
    pub const GETHOSTBYNAMEV6: i32 = 5;
    /// The name of an IPv4 address, whose four bytes are the key.
    pub const GETHOSTBYADDR: i32 = 6;
    /// The name of an IPv6 address, whose sixteen bytes are the key.
    pub const GETHOSTBYADDRV6: i32 = 7;
    /// All addresses of a name; nscd asks for both kinds (nscd/aicache.c).
    pub const GETAI: i32 = 14;
}

/// What a client wants looked up that sent this in one go. A request that is no lookup gives nothing.
///
/// # Errors
/// When it is not there as a whole, or is no request.
pub fn lookups(sent: &[u8]) -> Result<Vec<Question>, WireError> {
    let (version, rest) = number(sent)?;
    let (kind, rest) = number(rest)?;
    let (len, key) = number(rest)?;
    let len = usize::try_from(len).map_err(|_| WireError::Malformed)?;
    if version != VERSION || !(0..END_OF_TYPES).contains(&kind) || len > MAX_KEY {
        return Err(WireError::Malformed);
    }
    let key = match key.len() {
        have if have < len => return Err(WireError::CutOff),
        have if have > len => return Err(WireError::Malformed),
        _ => key,
    };
    Ok(match kind {
        kind::GETHOSTBYNAME => address_questions(name(key)?, &["A"]),
        kind::GETHOSTBYNAMEV6 => address_questions(name(key)?, &["AAAA"]),
        kind::GETAI => address_questions(name(key)?, &["A", "AAAA"]),
        kind::GETHOSTBYADDR => {
            let octets: [u8; 4] = key.try_into().map_err(|_| WireError::Malformed)?;
            vec![reverse_question(Ipv4Addr::from(octets).into())]
        }
        kind::GETHOSTBYADDRV6 => {
            let octets: [u8; 16] = key.try_into().map_err(|_| WireError::Malformed)?;
            vec![reverse_question(Ipv6Addr::from(octets).into())]
        }
        _ => Vec::new(),
    })
}

fn number(bytes: &[u8]) -> Result<(i32, &[u8]), WireError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(WireError::CutOff)?;
    Ok((i32::from_ne_bytes(*number), rest))
}

/// A name as a key: up to its NUL, which is the last byte.
fn name(key: &[u8]) -> Result<&[u8], WireError> {
    match key.split_last() {
        Some((0, name)) if !name.contains(&0) => Ok(name),
        _ => Err(WireError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(kind: i32, key: &[u8]) -> Vec<u8> {
        let len = i32::try_from(key.len()).unwrap();
        let mut bytes = [VERSION, kind, len].map(i32::to_ne_bytes).concat();
        bytes.extend(key);
        bytes
    }

    fn asked(kind: i32, key: &[u8]) -> Vec<String> {
        let questions = lookups(&request(kind, key)).unwrap();
        let said = |question: Question| format!("{} {}", question.name, question.qtype);
        questions.into_iter().map(said).collect()
    }

    #[test]
    fn lookups_of_hosts() {
        assert_eq!(asked(4, b"Page.example\0"), ["page.example A"]);
        assert_eq!(asked(5, b"page.example.\0"), ["page.example AAAA"]);
        assert_eq!(
            asked(14, b"page.example\0"),
            ["page.example A", "page.example AAAA"]
        );
        assert_eq!(asked(6, &[10, 0, 0, 1]), ["1.0.0.10.in-addr.arpa PTR"]);
        let six: Ipv6Addr = "fd77::1".parse().unwrap();
        assert!(asked(7, &six.octets())[0].ends_with("0.7.7.d.f.ip6.arpa PTR"));
    }

    /// What `getent` of glibc 2.36 sent.
    #[test]
    #[cfg(target_endian = "little")]
    fn bytes_of_glibc() {
        let said = |sent: &[u8]| lookups(sent).map(|questions| questions.len());
        assert_eq!(said(b"\x02\0\0\0\x0d\0\0\0\x06\0\0\0hosts\0"), Ok(0));
        let sent = b"\x02\0\0\0\x0e\0\0\0\x0d\0\0\0Page.example\0";
        assert_eq!(said(sent), Ok(2));
        let sent = b"\x02\0\0\0\x06\0\0\0\x04\0\0\0\nM\0P";
        let [question] = &lookups(sent).unwrap()[..] else {
            panic!("one question");
        };
        assert_eq!(&*question.name, "80.0.77.10.in-addr.arpa");
    }

    #[test]
    fn other_requests_are_no_lookups() {
        // GETPWBYNAME, INVALIDATE, GETFDHST, INITGROUPS, GETSERVBYNAME
        for (kind, key) in [
            (0, &b"root\0"[..]),
            (10, b"hosts\0"),
            (13, b"hosts\0"),
            (15, b"root\0"),
            (16, b"http/tcp\0"),
        ] {
            assert_eq!(asked(kind, key), [""; 0], "{kind}");
        }
        assert_eq!(asked(14, b"10.0.0.1\0"), [""; 0]);
        assert_eq!(asked(14, b"fe80::1%lab0\0"), [""; 0]);
        assert_eq!(asked(14, b"no..name\0"), [""; 0]);
    }

    #[test]
    fn what_is_cut_off_or_broken_is_an_error() {
        let whole = request(14, b"page.example\0");
        for len in 0..whole.len() {
            assert_eq!(lookups(&whole[..len]), Err(WireError::CutOff), "{len}");
        }
        let longer = [&whole[..], b"x"].concat();
        let mut other_version = whole.clone();
        other_version[..4].copy_from_slice(&3_i32.to_ne_bytes());
        let mut negative = whole.clone();
        negative[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
        for bad in [
            longer,
            other_version,
            negative,
            request(22, b"page.example\0"),
            request(-1, b"page.example\0"),
            request(14, b"page.example"),
            request(14, b"page\0.example\0"),
            request(14, b""),
            request(6, &[10, 0, 0]),
            request(7, &[10, 0, 0, 1]),
            request(14, &[b'a'; MAX_KEY + 1]),
        ] {
            assert_eq!(lookups(&bad), Err(WireError::Malformed), "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_are_too_hostile(bytes: Vec<u8>, kind in 0..22_i32, key: Vec<u8>) {
            let _ = lookups(&bytes);
            let _ = lookups(&request(kind, &key));
        }
    }
}
