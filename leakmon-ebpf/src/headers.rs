//! One look at a packet's headers.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};

/// IP protocol number of TCP.
pub const TCP: u32 = 6;
/// IP protocol number of UDP.
pub const UDP: u32 = 17;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

// IPv6 extension headers by their protocol numbers (RFC 8200 section 4, RFC 4302).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
/// Most extension headers that are skipped: RFC 8200 section 4.1 names six, one of them twice.
const MAX_EXTENSIONS: u32 = 8;
/// Farthest offset of a transport header.
const MAX_TRANSPORT: u32 = 2048;

/// Where the transport header of a packet is, and what it is.
#[derive(Clone, Copy)]
pub struct Network {
    /// Offset of the network header from the start of the packet, in bytes.
    pub base: u32,
    /// 4 or 6.
    pub version: u32,
    /// [`TCP`] or [`UDP`].
    pub protocol: u32,
    /// Offset of the transport header from the start of the packet, in bytes.
    pub transport: u32,
}

/// A value at `offset` of the packet: by direct access where the bytes are in the linear part, by helper where not.
///
/// `T` must be an array of two bytes or more: for one byte the compiler compares by `<`, from which the verifier learns
/// nothing (`find_good_pkt_pointers`, kernel/bpf/verifier.c).
#[inline(always)]
pub fn read<T: Copy>(skb: *mut __sk_buff, offset: usize) -> Option<T> {
    const { assert!(size_of::<T>() > 1) };
    // SAFETY: `data` and `data_end` bound the packet's linear part; the verifier proves the comparison covers the read.
    unsafe {
        let start = (*skb).data as usize;
        let end = (*skb).data_end as usize;
        if start + offset + size_of::<T>() <= end {
            return Some(core::ptr::read_unaligned((start + offset) as *const T));
        }
    }
    load(skb, offset as u32)
}

/// A value at `offset` of the packet, by helper: a payload is rarely in the linear part.
///
/// `T` must be an integer or an array of integers.
#[inline(always)]
pub fn load<T: Copy>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes exactly `size_of::<T>()` bytes or fails (and then zeroes them).
    unsafe {
        if bpf_skb_load_bytes(
            skb.cast(),
            offset,
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
        ) != 0
        {
            return None;
        }
        Some(value.assume_init())
    }
}

/// The network header at `base`, when a TCP or UDP header follows it.
#[inline(always)]
pub fn network(skb: *mut __sk_buff, base: u32) -> Option<Network> {
    let start = base as usize;
    let [first, _]: [u8; 2] = read(skb, start)?;
    match first >> 4 {
        4 => {
            let header: [u8; IPV4_HEADER] = read(skb, start)?;
            // A later fragment has no transport header (RFC 791 section 3.1).
            if header[6] & 0x1f != 0 || header[7] != 0 {
                return None;
            }
            supported(base, 4, header[9], base + u32::from(first & 0x0f) * 4)
        }
        6 => {
            let [next, _hop_limit]: [u8; 2] = read(skb, start + 6)?;
            if u32::from(next) == UDP || u32::from(next) == TCP {
                return supported(base, 6, next, base + IPV6_HEADER as u32);
            }
            behind_extensions(skb, base, next)
        }
        _ => None,
    }
}

/// Skips IPv6 extension headers (RFC 8200 section 4).
#[inline(always)]
fn behind_extensions(skb: *mut __sk_buff, base: u32, mut next: u8) -> Option<Network> {
    let mut offset = base + IPV6_HEADER as u32;
    for _ in 0..MAX_EXTENSIONS {
        // Next header, length, and for a fragment header the offset and flags.
        let [following, len, high, low]: [u8; 4] = load(skb, offset)?;
        offset += match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (u32::from(len) + 1) * 8,
            FRAGMENT => {
                // A later fragment has no transport header; the three lowest bits are no part of the offset.
                if high != 0 || low & 0xf8 != 0 {
                    return None;
                }
                8
            }
            AUTHENTICATION => (u32::from(len) + 2) * 4,
            _ => return None,
        };
        next = following;
        if u32::from(next) == UDP || u32::from(next) == TCP {
            // What is farther out than this is no honest packet, and the verifier wants a bound.
            return if offset <= MAX_TRANSPORT {
                supported(base, 6, next, offset)
            } else {
                None
            };
        }
    }
    None
}

#[inline(always)]
fn supported(base: u32, version: u32, protocol: u8, transport: u32) -> Option<Network> {
    let protocol = u32::from(protocol);
    (protocol == UDP || protocol == TCP).then_some(Network {
        base,
        version,
        protocol,
        transport,
    })
}

/// Source and destination address; an IPv4 one fills the first four bytes.
#[inline(always)]
pub fn addresses(skb: *mut __sk_buff, network: &Network) -> Option<([u8; 16], [u8; 16])> {
    let start = network.base as usize;
    if network.version == 6 {
        return Some((read(skb, start + 8)?, read(skb, start + 24)?));
    }
    let (mut source, mut destination) = ([0; 16], [0; 16]);
    let (from, to): ([u8; 4], [u8; 4]) = (read(skb, start + 12)?, read(skb, start + 16)?);
    source[..4].copy_from_slice(&from);
    destination[..4].copy_from_slice(&to);
    Some((source, destination))
}
