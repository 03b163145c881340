//! Does a TCP connection begin like a conversation with a proxy? The agent parses it for good; this only keeps other
//! traffic out.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_tcp_sock},
    helpers::generated::bpf_tcp_sock as tcp_sock_of,
};
use leakmon_common::PROXY_SEGMENTS;

use crate::{headers::load, maps::PROXIED};

/// SOCKS4 commands: CONNECT, BIND (the SOCKS4 memo), and tor's RESOLVE (socks-extensions, section 2).
const SOCKS4_COMMANDS: [u8; 3] = [1, 2, 0xf0];

/// The kernel's TCP state of the packet's socket, when there is one.
#[inline(always)]
fn tcp_state(skb: *mut __sk_buff) -> Option<*mut bpf_tcp_sock> {
    // SAFETY: `sk` may be null, which is checked before use; the helper returns null for what is no full TCP socket.
    unsafe {
        let sk = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() {
            return None;
        }
        let tcp = tcp_sock_of(sk);
        (!tcp.is_null()).then_some(tcp)
    }
}

/// How a request to an HTTP proxy begins, in its first eight bytes: CONNECT, or another method with the whole URI behind
/// it, which a web server itself is not sent (RFC 9112 section 3.2.2).
const HTTP: [u64; 5] = [
    u64::from_be_bytes(*b"CONNECT "),
    u64::from_be_bytes(*b"GET http"),
    u64::from_be_bytes(*b"HEAD htt"),
    u64::from_be_bytes(*b"POST htt"),
    u64::from_be_bytes(*b"PUT http"),
];

/// Whether a segment that a process sends is part of the start of a conversation with a proxy.
#[inline(always)]
pub fn sent(skb: *mut __sk_buff, payload: u32, len: u32, cookie: impl Fn() -> u64) -> bool {
    let Some(tcp) = tcp_state(skb) else {
        return false;
    };
    // SAFETY: checked against null; the kernel counts this segment before the hook runs (net/ipv4/tcp_output.c).
    let segments = unsafe { (*tcp).data_segs_out };
    if segments > PROXY_SEGMENTS {
        return false;
    }
    let cookie = cookie();
    // SAFETY: only whether there is an entry matters.
    if unsafe { PROXIED.get(cookie) }.is_some() {
        return true;
    }
    if segments > 1 || !begins(skb, payload, len) {
        return false;
    }
    PROXIED.insert(cookie, 0, 0).is_ok()
}

/// Whether a segment that a process receives belongs to a conversation that [`sent`] recognised.
#[inline(always)]
pub fn received(skb: *mut __sk_buff, cookie: impl Fn() -> u64) -> bool {
    let Some(tcp) = tcp_state(skb) else {
        return false;
    };
    // SAFETY: checked against null.
    if unsafe { (*tcp).data_segs_in } > PROXY_SEGMENTS {
        return false;
    }
    // SAFETY: only whether there is an entry matters.
    unsafe { PROXIED.get(cookie()) }.is_some()
}

/// The first bytes of SOCKS4 and SOCKS5 (RFC 1928 section 3), of which one lone first byte is let through, and of HTTP.
#[inline(always)]
fn begins(skb: *mut __sk_buff, payload: u32, len: u32) -> bool {
    if len == 1 {
        return matches!(load::<u8>(skb, payload), Some(4 | 5));
    }
    let Some([version, second]) = load::<[u8; 2]>(skb, payload) else {
        return false;
    };
    match version {
        4 => SOCKS4_COMMANDS.contains(&second),
        5 => second > 0 && u32::from(second) + 2 <= len,
        b'C' | b'G' | b'H' | b'P' => load::<[u8; 8]>(skb, payload)
            .is_some_and(|start| HTTP.contains(&u64::from_be_bytes(start))),
        _ => false,
    }
}
