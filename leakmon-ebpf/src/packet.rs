//! The packet hooks: what leaves a socket, and what is about to reach one.

use aya_ebpf::{
    EbpfContext, bindings::__sk_buff, helpers::generated::bpf_get_socket_cookie,
    macros::cgroup_skb, programs::SkBuffContext,
};
use leakmon_common::{EGRESS, INGRESS, REASON_DNS, REASON_PROXY};

use crate::{
    emit::{Packet, emit},
    headers::{UDP, network, read},
    maps::is_dns_port,
    proxy,
};

/// Lets the packet pass: 0 would drop it.
const PASS: i32 = 1;

/// A packet leaves a socket. Kernel 4.10; direct packet access 5.0.
#[cgroup_skb]
pub fn egress(ctx: SkBuffContext) -> i32 {
    look(&ctx, EGRESS);
    PASS
}

/// A packet is about to reach a socket. Kernel 4.10; direct packet access 5.0.
#[cgroup_skb]
pub fn ingress(ctx: SkBuffContext) -> i32 {
    look(&ctx, INGRESS);
    PASS
}

#[inline(always)]
fn look(ctx: &SkBuffContext, direction: u32) -> Option<()> {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    let network = network(skb, 0)?;
    let transport = network.transport as usize;
    let ports: [u8; 4] = read(skb, transport)?;
    let source_port = u16::from_be_bytes([ports[0], ports[1]]);
    let destination_port = u16::from_be_bytes([ports[2], ports[3]]);
    // A question goes to a DNS port, an answer comes from one; the other two are the server's own view of them.
    let dns = is_dns_port(if direction == EGRESS {
        destination_port
    } else {
        source_port
    });
    // SAFETY: `ctx` is the context of a cgroup_skb program, which the helper takes (net/core/filter.c).
    let cookie = || unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: `len` is a plain field of the context.
    let skb_len = unsafe { (*skb).len };
    let (payload, sequence) = if network.protocol == UDP {
        if !dns {
            return None;
        }
        (network.transport + 8, 0)
    } else {
        let [data_offset, _flags]: [u8; 2] = read(skb, transport + 12)?;
        let payload = network.transport + u32::from(data_offset >> 4) * 4;
        if skb_len <= payload {
            return None;
        }
        if !dns {
            let is_proxied = if direction == EGRESS {
                proxy::sent(skb, payload, skb_len - payload, cookie)
            } else {
                proxy::received(skb, cookie)
            };
            if !is_proxied {
                return None;
            }
        }
        let sequence: [u8; 4] = read(skb, transport + 4)?;
        (payload, u32::from_be_bytes(sequence))
    };
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        ctx,
        "direction {}: from port {} to port {}",
        direction,
        source_port,
        destination_port
    );
    emit(
        skb,
        &Packet {
            cookie: cookie(),
            direction,
            reason: if dns { REASON_DNS } else { REASON_PROXY },
            network,
            source_port,
            destination_port,
            payload,
            len: skb_len.checked_sub(payload)?,
            sequence,
            // SAFETY: a plain field of the context (5.7).
            datagram_len: if network.protocol == UDP {
                unsafe { (*skb).gso_size }
            } else {
                0
            },
            by_caller: direction == EGRESS && network.protocol == UDP,
        },
    )
}
