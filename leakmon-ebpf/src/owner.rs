//! Socket cookie → owner, kept by the hooks that run in the context of the process that uses the socket.
//!
//! A packet hook may run in a softirq, where `current` is whoever happened to be interrupted, and the current-pid helper
//! is refused there before 6.10; here it is neither.

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
    },
    macros::{cgroup_sock, cgroup_sock_addr},
    programs::{SockAddrContext, SockContext},
};
use leakmon_common::Owner;

use crate::maps::{OWNERS, OwnerSlot, SOCKS};

/// Lets the kernel go on: 0 would refuse the system call.
const ALLOW: i32 = 1;

/// A process made an IPv4 or IPv6 socket. Kernel 4.10.
#[cgroup_sock(sock_create)]
pub fn sock_create(ctx: SockContext) -> i32 {
    remember(ctx.as_ptr());
    ALLOW
}

/// A socket was closed for the last time. Kernel 5.9.
#[cgroup_sock(sock_release)]
pub fn sock_release(ctx: SockContext) -> i32 {
    let sock: *mut bpf_sock = ctx.sock;
    // SAFETY: the helper takes the context of a cgroup/sock program (net/core/filter.c), which this is.
    let cookie = unsafe { bpf_get_socket_cookie(sock.cast()) };
    let _ = OWNERS.remove(cookie);
    let _ = SOCKS.remove(cookie);
    ALLOW
}

/// A process connects over IPv4, TCP or UDP. Kernel 4.17.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    remember(ctx.as_ptr());
    ALLOW
}

/// A process connects over IPv6, TCP or UDP. Kernel 4.17.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    remember(ctx.as_ptr());
    ALLOW
}

/// A process sends from an unconnected UDP socket over IPv4. Kernel 4.18.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    remember(ctx.as_ptr());
    ALLOW
}

/// A process sends from an unconnected UDP socket over IPv6. Kernel 4.18.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    remember(ctx.as_ptr());
    ALLOW
}

/// Makes the current process the owner of the context's socket.
#[inline(always)]
fn remember(ctx: *mut core::ffi::c_void) {
    // SAFETY: the helper takes the contexts of cgroup/sock and cgroup/sock_addr programs (net/core/filter.c), the only
    // ones this is called with.
    let cookie = unsafe { bpf_get_socket_cookie(ctx) };
    let pid_tgid = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((pid_tgid >> 32) as u32, pid_tgid as u32);
    // SAFETY: a value read while it is replaced fails the comparison at worst, and is then written anew.
    if let Some(known) = unsafe { OWNERS.get(cookie) }
        && known.cookie == cookie
        && known.owner.tgid == tgid
        && known.owner.tid == tid
    {
        return;
    }
    let slot = OwnerSlot {
        cookie,
        owner: current(),
    };
    // An insertion fails only when no element can be had; the socket's owner is then unknown, and said to be.
    let _ = OWNERS.insert(cookie, slot, 0);
}

/// The current process and thread. Only where `current` is the one that acts.
#[inline(always)]
pub fn current() -> Owner {
    let pid_tgid = bpf_get_current_pid_tgid();
    let uid_gid = bpf_get_current_uid_gid();
    Owner {
        // SAFETY: the helper takes no argument.
        seen_ns: unsafe { bpf_ktime_get_boot_ns() },
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        uid: uid_gid as u32,
        gid: (uid_gid >> 32) as u32,
        comm: bpf_get_current_comm().unwrap_or_default(),
    }
}

/// The owner of a socket, [`Owner::UNKNOWN`] when there is none on record.
#[inline(always)]
pub fn lookup(cookie: u64) -> Owner {
    // SAFETY: the element may be recycled for another socket while it is copied: the cookie is compared after the copy.
    match unsafe { OWNERS.get(cookie) } {
        Some(slot) => {
            let owner = slot.owner;
            // SAFETY: points into the map element just read.
            if unsafe { core::ptr::read_volatile(&slot.cookie) } == cookie {
                owner
            } else {
                Owner::UNKNOWN
            }
        }
        None => Owner::UNKNOWN,
    }
}
