//! Connections over TCP to other machines: whether a program goes past its proxy.

use aya_ebpf::{
    bindings::bpf_sock_addr,
    helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
};
use leakmon_common::{ConnectEvent, Head, KIND_CONNECT, Owner};

use crate::{
    emit::{count_lost, wake},
    maps::EVENTS,
    owner,
};

/// A socket of bytes, as TCP's (include/linux/net.h).
const SOCK_STREAM: u32 = 1;
/// TCP (include/uapi/linux/in.h).
const TCP: u32 = 6;

/// The current process connects over IPv4.
#[inline(always)]
pub fn over_ipv4(ctx: *mut bpf_sock_addr) {
    // SAFETY: plain fields of the context (include/uapi/linux/bpf.h).
    let (address, is_tcp) = unsafe { ((*ctx).user_ip4, is_tcp(ctx)) };
    let first = address.to_ne_bytes()[0];
    // 127.0.0.0/8, and 0.0.0.0, which is this machine too (ip(7)).
    if is_tcp && first != 127 && address != 0 {
        ship(ctx, [address, 0, 0, 0], 4);
    }
}

/// The current process connects over IPv6.
#[inline(always)]
pub fn over_ipv6(ctx: *mut bpf_sock_addr) {
    // SAFETY: plain fields of the context, read one by one as the verifier wants it.
    let (address, is_tcp) = unsafe {
        let words = &raw const (*ctx).user_ip6;
        let word = |index: usize| words.cast::<u32>().add(index).read_volatile();
        ([word(0), word(1), word(2), word(3)], is_tcp(ctx))
    };
    let is_zero = address[0] | address[1] == 0;
    // ::1 and ::, and 127.0.0.0/8 mapped into IPv6.
    let is_loopback = is_zero && address[2] == 0 && u32::from_be(address[3]) <= 1;
    let is_mapped_loopback =
        is_zero && u32::from_be(address[2]) == 0xffff && address[3].to_ne_bytes()[0] == 127;
    if is_tcp && !is_loopback && !is_mapped_loopback {
        ship(ctx, address, 6);
    }
}

/// # Safety
/// `ctx` must be the context of a cgroup/sock_addr program.
#[inline(always)]
unsafe fn is_tcp(ctx: *mut bpf_sock_addr) -> bool {
    // SAFETY: plain fields of the context.
    unsafe { (*ctx).type_ == SOCK_STREAM && (*ctx).protocol == TCP }
}

#[inline(always)]
fn ship(ctx: *mut bpf_sock_addr, address: [u32; 4], ip_version: u32) {
    let Some(mut slot) = EVENTS.reserve::<ConnectEvent>(0) else {
        count_lost(false);
        return;
    };
    let event = slot.as_mut_ptr();
    // SAFETY: the slot holds a whole `ConnectEvent`; the port is a plain field of the context, and the helpers take it or
    // nothing.
    let now = unsafe {
        let now = bpf_ktime_get_boot_ns();
        (*event).head = Head {
            boot_ns: now,
            kind: KIND_CONNECT,
            detail: 0,
        };
        (*event).cookie = bpf_get_socket_cookie(ctx.cast());
        (*event).owner = Owner::UNKNOWN;
        owner::write_current(&raw mut (*event).owner);
        (*event).destination = core::mem::transmute::<[u32; 4], [u8; 16]>(address);
        (*event).ip_version = ip_version;
        (*event).port = u32::from(u16::from_be((*ctx).user_port as u16));
        now
    };
    slot.submit(wake(now));
}
