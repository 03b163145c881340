//! DNS messages: the question, and the addresses of an answer.

use std::{fmt::Write as _, net::IpAddr};

use domain::{
    base::{
        Message, Name, Question as DnsQuestion, ToName, message::QuestionSection, name::ToLabelIter,
    },
    rdata::AllRecordData,
};

use super::WireError;

/// Most questions read from one message. RFC 9619 allows one; more are hostile or broken.
const MAX_QUESTIONS: usize = 4;
/// Most addresses kept of one answer.
const MAX_ADDRESSES: usize = 64;

/// One question (RFC 1035 section 4.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Presentation format, lower case, without the final dot; the root is `.`.
    pub name: String,
    /// Mnemonic of the type, or `TYPEnnn` (RFC 3597 section 5).
    pub qtype: String,
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
    let answer = header.qr().then(|| DnsAnswer {
        rcode: header.rcode().to_string(),
        addresses: addresses(&message),
        aliases: Vec::new(),
    });
    Ok(DnsMessage {
        id: header.id(),
        questions,
        answer,
    })
}

fn read_question<N: ToName>(question: &DnsQuestion<N>) -> Question {
    Question {
        name: presentation(question.qname()),
        qtype: question.qtype().to_string(),
    }
}

/// Presentation format (RFC 1035 section 5.1) with every byte outside the printable ASCII range as `\DDD`, so that
/// nothing in a name can pretend to be something else.
fn presentation(name: &impl ToName) -> String {
    let name: Name<Vec<u8>> = name.to_name();
    let mut text = String::new();
    for label in name.iter_labels().filter(|label| !label.is_root()) {
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in label.as_slice() {
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

/// Addresses of the question's name, through the CNAME chain: records of other names prove nothing about it.
fn addresses(message: &Message<&[u8]>) -> Vec<Address> {
    let (Some(question), Ok(section)) = (message.first_question(), message.answer()) else {
        return Vec::new();
    };
    let mut owner: Name<Vec<u8>> = question.qname().to_name();
    let mut found = Vec::new();
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
                owner = cname.cname().to_name();
                continue;
            }
            _ => continue,
        };
        if found.len() == MAX_ADDRESSES {
            break;
        }
        found.push(Address {
            addr,
            ttl: record.ttl().as_secs(),
        });
    }
    found
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
        assert_eq!(
            got.addresses,
            [Address {
                addr: "10.0.0.1".parse().unwrap(),
                ttl: 60
            }]
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
            assert_eq!(message.questions[0].name, "page.example");
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
        assert_eq!(question.name, r"\027[\.\000\255\032");
        assert_eq!(question.qtype, "ANY");
    }

    #[test]
    fn unknown_types_and_the_root_have_names() {
        let mut root = QUERY[..12].to_vec();
        root.extend_from_slice(b"\x00\xff\x00\x00\x01");
        let question = &parse(&root).unwrap().questions[0];
        assert_eq!(
            (question.name.as_str(), question.qtype.as_str()),
            (".", "TYPE65280")
        );
    }
}
