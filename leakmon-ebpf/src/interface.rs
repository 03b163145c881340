//! Frames that a program puts on an interface through a packet socket: they pass no socket hook of IP's.

use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::generated::{bpf_get_socket_cookie, bpf_skb_ancestor_cgroup_id},
    macros::classifier,
    programs::TcContext,
};
use leakmon_common::{EGRESS, REASON_DNS};

use crate::{
    emit::{Packet, emit},
    headers::{UDP, load, network, read},
    maps::{CGROUP_ID, CGROUP_LEVEL, is_dns_port},
};

/// Goes on to the next program on the interface (`TCX_NEXT`, include/uapi/linux/bpf.h).
const NEXT: i32 = -1;
/// Address family of packet sockets (`AF_PACKET`, include/linux/socket.h).
const PACKET: u32 = 17;

// Ethernet (include/uapi/linux/if_ether.h).
const ETHERNET_HEADER: u32 = 14;
const VLAN_TAG: u32 = 4;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const PROVIDER_VLAN: u16 = 0x88a8;

/// A packet leaves through an interface. By link from kernel 6.6 on.
#[classifier]
pub fn interface(ctx: TcContext) -> i32 {
    look(&ctx);
    NEXT
}

#[inline(always)]
fn look(ctx: &TcContext) -> Option<()> {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    // SAFETY: `sk` is checked against null; its family is a field that every socket has (PTR_TO_SOCK_COMMON).
    unsafe {
        let sk = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() || (*sk).family != PACKET {
            return None;
        }
        let wanted = CGROUP_ID.load();
        // SAFETY: the socket is a full one, so its cgroup can be asked for.
        if wanted != 0 && bpf_skb_ancestor_cgroup_id(skb, CGROUP_LEVEL.load() as i32) != wanted {
            return None;
        }
    }
    let network = network(skb, network_offset(skb)?)?;
    // A conversation over TCP is not made of single frames.
    if network.protocol != UDP {
        return None;
    }
    let ports: [u8; 4] = read(skb, network.transport as usize)?;
    let destination_port = u16::from_be_bytes([ports[2], ports[3]]);
    if !is_dns_port(destination_port) {
        return None;
    }
    let payload = network.transport + 8;
    emit(
        skb,
        &Packet {
            // SAFETY: `ctx` is the context of a classifier, which the helper takes (net/core/filter.c).
            cookie: unsafe { bpf_get_socket_cookie(ctx.as_ptr()) },
            direction: EGRESS,
            reason: REASON_DNS,
            network,
            source_port: u16::from_be_bytes([ports[0], ports[1]]),
            destination_port,
            payload,
            // SAFETY: a plain field of the context.
            len: unsafe { (*skb).len }.checked_sub(payload)?,
            sequence: 0,
            datagram_len: 0,
            by_caller: true,
        },
    )
}

/// Where the network header begins: behind an Ethernet header with up to two VLAN tags, or at once, as on tunnels.
#[inline(always)]
fn network_offset(skb: *mut __sk_buff) -> Option<u32> {
    for tags in 0..3 {
        let offset = ETHERNET_HEADER + tags * VLAN_TAG;
        let kind = u16::from_be_bytes(load(skb, offset - 2)?);
        if kind == IPV4 || kind == IPV6 {
            return Some(offset);
        }
        if kind != VLAN && kind != PROVIDER_VLAN {
            break;
        }
    }
    let [first, _]: [u8; 2] = load(skb, 0)?;
    (first >> 4 == 4 || first >> 4 == 6).then_some(0)
}
