//! Control messages of sendmsg(2), as bytes: the safe libraries know only some kinds of them.

/// `struct cmsghdr`: a length, a level and a type.
const HEAD: usize = size_of::<usize>() + 8;

/// One control message with its padding (`CMSG_SPACE`, cmsg(3)), to be put behind another.
pub fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = (HEAD + data.len()).to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_length_is_without_the_padding_and_the_space_is_with_it() {
        let bytes = super::message(17, 103, &100_u16.to_ne_bytes());
        assert_eq!(bytes.len(), 24);
        assert_eq!(bytes[..8], 18_usize.to_ne_bytes());
    }
}
