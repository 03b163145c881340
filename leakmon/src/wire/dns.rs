//! DNS messages: the question, and the addresses of an answer.

use std::{fmt::Write as _, net::IpAddr, sync::Arc};

use domain::{
    base::{
        Message, Name, Question as DnsQuestion, Rtype, ToName,
        message::QuestionSection,
        name::{Label, ToLabelIter},
    },
    rdata::AllRecordData,
};

use super::WireError;

/// Most questions read from one message. RFC 9619 allows one; more are hostile or broken.
const MAX_QUESTIONS: usize = 4;
/// Most addresses kept of one answer.
const MAX_ADDRESSES: usize = 64;
/// Most CNAME records followed from one name; systemd-resolved follows as many (`CNAME_REDIRECTS_MAX`,
/// src/resolve/resolved-dns-query.h).
const MAX_ALIASES: usize = 16;
/// Longest name (RFC 1035 section 2.3.4), with its length bytes and the root's.
const MAX_NAME: usize = 255;
/// Longest label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// What a name that is built is given room for at first: few are longer.
const USUAL_NAME: usize = 64;

/// One question (RFC 1035 section 4.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Presentation format, lower case, without the final dot; the root is `.`.
    pub name: Arc<str>,
    /// Mnemonic of the type, or `TYPEnnn` (RFC 3597 section 5).
    pub qtype: Arc<str>,
}

/// An address that an answer gave, and for how long it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub addr: IpAddr,
    /// Time to live in seconds.
    pub ttl: u32,
}

/// A DNS message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsMessage {
    /// Transaction id.
    pub id: u16,
    /// The questions.
    pub questions: Vec<Question>,
    /// What it answers; `None` for a query.
    pub answer: Option<DnsAnswer>,
}

/// The answering part of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsAnswer {
    /// Mnemonic of the response code, `RCODEnnn` for one without.
    pub rcode: String,
    /// Addresses in the answer section, CNAME chain followed.
    pub addresses: Vec<Address>,
    /// What the question's name leads to by CNAME records, in order; those made from a DNAME record (RFC 6672 section
    /// 3.1) are among them. In the format of [`Question::name`], at most 16.
    pub aliases: Vec<String>,
}

/// Reads a DNS message, or the beginning of one: what is cut off or broken behind the questions is left out.
///
/// # Errors
/// When there is no header, or no question that can be read.
pub fn parse(bytes: &[u8]) -> Result<DnsMessage, WireError> {
    let message = Message::from_octets(bytes).map_err(|_| WireError::Short)?;
    let mut questions = Vec::new();
    let section: QuestionSection<'_, _> = message.question();
    for question in section.take(MAX_QUESTIONS) {
        match question {
            Ok(question) => questions.push(read_question(&question)),
            Err(_) => break,
        }
    }
    if questions.is_empty() {
        return Err(WireError::NoQuestion);
    }
    let header = message.header();
    let answer = header.qr().then(|| {
        let (addresses, aliases) = follow(&message);
        DnsAnswer {
            rcode: header.rcode().to_string(),
            addresses,
            aliases,
        }
    });
    Ok(DnsMessage {
        id: header.id(),
        questions,
        answer,
    })
}

fn read_question<N: ToName>(question: &DnsQuestion<N>) -> Question {
    Question {
        name: presentation(&question.qname().to_name()).into(),
        qtype: mnemonic(question.qtype()),
    }
}

/// The mnemonic of a type, or `TYPEnnn`.
pub(super) fn mnemonic(qtype: Rtype) -> Arc<str> {
    match qtype.to_mnemonic_str() {
        Some(known) => known.into(),
        None => qtype.to_string().into(),
    }
}

fn presentation(name: &Name<Vec<u8>>) -> String {
    let labels = name.iter_labels().filter(|label| !label.is_root());
    written(labels.map(Label::as_slice))
}

/// Presentation format (RFC 1035 section 5.1) with every byte outside the printable ASCII range as `\DDD`, so that
/// nothing in a name can pretend to be something else.
fn written<'a>(labels: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = String::with_capacity(USUAL_NAME);
    for label in labels {
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                    text.push('\\');
                    text.push(char::from(byte));
                }
                0x21..=0x7e => text.push(char::from(byte.to_ascii_lowercase())),
                _ => {
                    let _ = write!(text, "\\{byte:03}");
                }
            }
        }
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

/// A name as a program writes it, with or without the final dot, in the format of [`Question::name`]; `None` for what can
/// be no name. Bytes outside ASCII stay what they are: whoever is asked may turn them into their IDNA form (RFC 5891).
pub(super) fn name_of_text(text: &[u8]) -> Option<String> {
    name_of_labels(&labels_of_text(text)?)
}

/// The name of these labels, in the format of [`Question::name`]; `None` when it or one of them is too long or empty.
pub(super) fn name_of_labels(labels: &[Vec<u8>]) -> Option<String> {
    let is_label = |label: &Vec<u8>| (1..=MAX_LABEL).contains(&label.len());
    let len = 1 + labels.iter().map(|label| 1 + label.len()).sum::<usize>();
    (len <= MAX_NAME && labels.iter().all(is_label))
        .then(|| written(labels.iter().map(Vec::as_slice)))
}

/// The labels of a name as a program writes it, `\.` and `\DDD` resolved (RFC 1035 section 5.1). How long they are, and
/// whether they are empty, is for [`name_of_labels`] to see.
pub(super) fn labels_of_text(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut labels = Vec::new();
    let mut label = Vec::new();
    let mut rest = if text == b"." { b"" } else { text };
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'.' => labels.push(std::mem::take(&mut label)),
            b'\\' => {
                let (byte, behind) = escaped(rest)?;
                rest = behind;
                label.push(byte);
            }
            _ => label.push(byte),
        }
    }
    if !label.is_empty() {
        labels.push(label);
    }
    Some(labels)
}

/// The byte that stands behind a backslash, and what follows.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, behind) = text.split_first()?;
    if !first.is_ascii_digit() {
        return Some((first, behind));
    }
    let (digits, behind) = text.split_at_checked(3)?;
    let byte = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((byte, behind))
}

/// The questions for the addresses of a name: A, AAAA or both. None for an address that is written out, or for what can
/// be no name: whoever is asked for that asks nobody.
pub(super) fn address_questions(name: &[u8], qtypes: &[&str]) -> Vec<Question> {
    let text = String::from_utf8_lossy(name);
    // An IPv6 address may have a scope (RFC 4007 section 11).
    let address = text.split_once('%').map_or(&*text, |(address, _)| address);
    if address.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    let Some(name) = name_of_text(name) else {
        return Vec::new();
    };
    let name: Arc<str> = name.into();
    let ask = |&qtype: &&str| Question {
        name: Arc::clone(&name),
        qtype: qtype.into(),
    };
    qtypes.iter().map(ask).collect()
}

/// The question for the name of an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub(super) fn reverse_question(addr: IpAddr) -> Question {
    let mut name = String::new();
    match addr {
        IpAddr::V4(addr) => {
            for octet in addr.octets().iter().rev() {
                let _ = write!(name, "{octet}.");
            }
            name.push_str("in-addr.arpa");
        }
        IpAddr::V6(addr) => {
            for octet in addr.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 0xf, octet >> 4);
            }
            name.push_str("ip6.arpa");
        }
    }
    Question {
        name: name.into(),
        qtype: "PTR".into(),
    }
}

/// Addresses of the question's name and the aliases that lead there: records of other names prove nothing about it.
/// Records may stand in any order (RFC 1034 section 3.6), so each name is looked for anew.
fn follow(message: &Message<&[u8]>) -> (Vec<Address>, Vec<String>) {
    let (Some(question), Ok(section)) = (message.first_question(), message.answer()) else {
        return (Vec::new(), Vec::new());
    };
    let mut owner: Name<Vec<u8>> = question.qname().to_name();
    let asked = presentation(&owner);
    let mut addresses = Vec::new();
    let mut aliases: Vec<String> = Vec::new();
    loop {
        let mut next: Option<Name<Vec<u8>>> = None;
        for record in section.limit_to::<AllRecordData<_, _>>() {
            // A record that is cut off ends what can be trusted.
            let Ok(record) = record else { break };
            if !record.owner().name_eq(&owner) {
                continue;
            }
            let addr: IpAddr = match record.data() {
                AllRecordData::A(a) => a.addr().into(),
                AllRecordData::Aaaa(aaaa) => aaaa.addr().into(),
                AllRecordData::Cname(cname) => {
                    next.get_or_insert_with(|| cname.cname().to_name());
                    continue;
                }
                _ => continue,
            };
            if addresses.len() < MAX_ADDRESSES {
                addresses.push(Address {
                    addr,
                    ttl: record.ttl().as_secs(),
                });
            }
        }
        let Some(next) = next.filter(|_| aliases.len() < MAX_ALIASES) else {
            break;
        };
        let alias = presentation(&next);
        if alias == asked || aliases.contains(&alias) {
            break;
        }
        aliases.push(alias);
        owner = next;
    }
    (addresses, aliases)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `page.example A`, id 0x1234, RD set.
    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04Page\x07eXample\x00\x00\x01\x00\x01";

    fn answer(records: &[u8], count: u8) -> Vec<u8> {
        let mut bytes = QUERY.to_vec();
        bytes[2] = 0x81;
        bytes[7] = count;
        bytes.extend_from_slice(records);
        bytes
    }

    #[test]
    fn reads_a_query() {
        let message = parse(QUERY).unwrap();
        assert_eq!(message.id, 0x1234);
        assert_eq!(
            message.questions,
            [Question {
                name: "page.example".into(),
                qtype: "A".into()
            }]
        );
        assert_eq!(message.answer, None);
    }

    #[test]
    fn follows_the_cname_chain_and_nothing_else() {
        // page.example CNAME www.page.example; www.page.example A 10.0.0.1; other A 10.0.0.2
        let records = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03www\xc0\x0c\
            \xc0\x2a\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01\
            \x05other\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x02";
        let message = parse(&answer(records, 3)).unwrap();
        let got = message.answer.unwrap();
        assert_eq!(got.rcode, "NOERROR");
        assert_eq!(got.aliases, ["www.page.example"]);
        assert_eq!(
            got.addresses,
            [Address {
                addr: "10.0.0.1".parse().unwrap(),
                ttl: 60
            }]
        );
    }

    /// A record of `owner`, in wire format without compression.
    fn record(owner: &str, rtype: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = wire(owner);
        bytes.extend([
            0,
            rtype,
            0,
            1,
            0,
            0,
            0,
            60,
            0,
            u8::try_from(data.len()).unwrap(),
        ]);
        bytes.extend(data);
        bytes
    }

    fn wire(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes
    }

    fn answered(records: &[Vec<u8>]) -> DnsAnswer {
        let count = u8::try_from(records.len()).unwrap();
        parse(&answer(&records.concat(), count))
            .unwrap()
            .answer
            .unwrap()
    }

    #[test]
    fn a_chain_is_followed_whatever_the_order_of_its_records() {
        let address = record("c.example", 1, &[10, 0, 0, 1]);
        let second = record("B.example", 5, &wire("C.example"));
        let first = record("page.EXAMPLE", 5, &wire("b.Example"));
        // RFC 6672 section 3.1: the DNAME comes with the CNAME that it means.
        let other = record("example", 39, &wire("test"));
        let records = [&address, &second, &first, &other];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 0, 1, 3]] {
            let got = answered(&order.map(|index: usize| records[index].clone()));
            assert_eq!(got.aliases, ["b.example", "c.example"], "{order:?}");
            assert_eq!(got.addresses.len(), 1, "{order:?}");
        }
    }

    #[test]
    fn loops_and_endless_chains_end() {
        let itself = [record("page.example", 5, &wire("page.example"))];
        assert_eq!(answered(&itself).aliases, [""; 0]);
        let round = [
            record("page.example", 5, &wire("b.example")),
            record("b.example", 5, &wire("c.example")),
            record("c.example", 5, &wire("b.example")),
            record("b.example", 1, &[10, 0, 0, 1]),
        ];
        let got = answered(&round);
        assert_eq!(got.aliases, ["b.example", "c.example"]);
        assert_eq!(got.addresses.len(), 1);
        let mut endless = vec![record("page.example", 5, &wire("a0"))];
        endless
            .extend((0..100).map(|n| record(&format!("a{n}"), 5, &wire(&format!("a{}", n + 1)))));
        assert_eq!(answered(&endless).aliases.len(), MAX_ALIASES);
    }

    #[test]
    fn names_that_programs_write_are_read_like_those_on_the_wire() {
        let is = |text: &[u8], name: &str| assert_eq!(name_of_text(text).as_deref(), Some(name));
        is(b"Page.eXample", "page.example");
        is(b"page.example.", "page.example");
        is(b".", ".");
        is(b"", ".");
        is(
            br"My\032Printer\.x._ipp._tcp.local",
            r"my\032printer\.x._ipp._tcp.local",
        );
        is("b\u{fc}cher.example".as_bytes(), r"b\195\188cher.example");
        for bad in [
            &b"a..b"[..],
            b".a",
            b"..",
            br"a\",
            br"a\25",
            br"a\256",
            br"a\2x5",
            &[b'a'; 64],
            &b"abcdefg.".repeat(32),
        ] {
            assert_eq!(name_of_text(bad), None, "{bad:?}");
        }
        assert!(name_of_text(&b"abcdefg.".repeat(31)).is_some());
    }

    #[test]
    fn reverse_names() {
        let name = |addr: &str| reverse_question(addr.parse().unwrap()).name;
        assert_eq!(&*name("10.77.0.80"), "80.0.77.10.in-addr.arpa");
        assert_eq!(
            &*name("2001:db8::1f"),
            "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn a_cut_answer_keeps_its_question() {
        let whole = answer(
            b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01",
            1,
        );
        for len in QUERY.len()..whole.len() {
            let message = parse(&whole[..len]).unwrap();
            assert_eq!(&*message.questions[0].name, "page.example");
            assert!(message.answer.unwrap().addresses.is_empty());
        }
    }

    #[test]
    fn hostile_bytes_are_errors_and_hostile_labels_are_escaped() {
        for len in 0..QUERY.len() {
            assert!(parse(&QUERY[..len]).is_err(), "{len} bytes");
        }
        // A name that points at itself.
        let mut looping = QUERY[..12].to_vec();
        looping.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01");
        assert_eq!(parse(&looping), Err(WireError::NoQuestion));

        let mut ugly = QUERY[..12].to_vec();
        ugly.extend_from_slice(b"\x06\x1b[.\x00\xff \x00\x00\xff\x00\x01");
        let question = &parse(&ugly).unwrap().questions[0];
        assert_eq!(&*question.name, r"\027[\.\000\255\032");
        assert_eq!(&*question.qtype, "ANY");
    }

    #[test]
    fn unknown_types_and_the_root_have_names() {
        let mut root = QUERY[..12].to_vec();
        root.extend_from_slice(b"\x00\xff\x00\x00\x01");
        let question = &parse(&root).unwrap().questions[0];
        assert_eq!((&*question.name, &*question.qtype), (".", "TYPE65280"));
    }
}
