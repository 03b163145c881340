//! Socket cookie → owner, kept by the hooks that run in the context of the process that uses the socket.
//!
//! A packet hook may run in a softirq, where `current` is whoever happened to be interrupted, and the current-pid helper
//! is refused there before 6.10; in these hooks it is neither.

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::{
            bpf_get_current_comm, bpf_get_current_task, bpf_get_socket_cookie,
            bpf_ktime_get_boot_ns,
        },
    },
    macros::{cgroup_sock, cgroup_sock_addr},
    programs::{SockAddrContext, SockContext},
};
use leakmon_common::{COMM_LEN, Owner, OwnerSlot, SENDER_BY_PID, SENDER_BY_TASK};

use crate::{
    connect,
    maps::{OWNERS, PROXIED, SENDER, TASKS},
};

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
    let _ = PROXIED.remove(cookie);
    ALLOW
}

/// A process connects over IPv4, TCP or UDP. Kernel 4.17.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    remember(ctx.as_ptr());
    connect::over_ipv4(ctx.sock_addr);
    ALLOW
}

/// A process connects over IPv6, TCP or UDP. Kernel 4.17.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    remember(ctx.as_ptr());
    connect::over_ipv6(ctx.sock_addr);
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
        && known.key == cookie
        && known.owner.tgid == tgid
        && known.owner.tid == tid
    {
        return;
    }
    let owner = current();
    let task = current_task();
    // An insertion fails only when no element can be had; who it is is then unknown, and said to be.
    let _ = OWNERS.insert(
        cookie,
        OwnerSlot {
            key: cookie,
            task,
            owner,
        },
        0,
    );
    know_task(task, owner);
}

/// Remembers who the current task is.
#[inline(always)]
pub fn know_task(task: u64, owner: Owner) {
    if SENDER.load() == SENDER_BY_TASK {
        let _ = TASKS.insert(
            task,
            OwnerSlot {
                key: task,
                task,
                owner,
            },
            0,
        );
    }
}

/// The current task ends: its address may become another task's.
#[inline(always)]
pub fn forget_task() {
    if SENDER.load() == SENDER_BY_TASK {
        let _ = TASKS.remove(current_task());
    }
}

/// The address of the current task, as an identity.
#[inline(always)]
pub fn current_task() -> u64 {
    // SAFETY: the helper takes no argument.
    unsafe { bpf_get_current_task() }
}

/// The current process and thread. Only where `current` is the one that acts.
#[inline(always)]
pub fn current() -> Owner {
    let mut owner = core::mem::MaybeUninit::<Owner>::uninit();
    // SAFETY: `write_current` initialises it.
    unsafe {
        write_current(owner.as_mut_ptr());
        owner.assume_init()
    }
}

/// The same, to where it is wanted.
///
/// # Safety
/// `out` must be valid for writing.
#[inline(always)]
pub unsafe fn write_current(out: *mut Owner) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let uid_gid = bpf_get_current_uid_gid();
    // SAFETY: the caller's pointer is valid, and the name's helper fills all of its buffer (or zeroes it).
    unsafe {
        (*out).seen_ns = bpf_ktime_get_boot_ns();
        (*out).tgid = (pid_tgid >> 32) as u32;
        (*out).tid = pid_tgid as u32;
        (*out).uid = uid_gid as u32;
        (*out).gid = (uid_gid >> 32) as u32;
        bpf_get_current_comm((&raw mut (*out).comm).cast(), COMM_LEN as u32);
    }
}

/// Copies a slot's owner to `out`, unless there is none or it is another key's by now.
///
/// Through pointers only: two owners beside each other are more than a program's stack of 512 bytes bears here.
#[inline(always)]
unsafe fn copy_owner(slot: *const OwnerSlot, key: u64, out: *mut Owner) {
    // SAFETY: the caller's pointers are valid. The element may be recycled for another key while it is copied: the key
    // is compared after the copy.
    unsafe {
        core::ptr::copy_nonoverlapping(&raw const (*slot).owner, out, 1);
        if core::ptr::read_volatile(&raw const (*slot).key) != key {
            out.write(Owner::UNKNOWN);
        }
    }
}

/// Who sends or receives a packet on a socket; [`Owner::UNKNOWN`] when the kernel cannot tell.
///
/// `by_caller`: the packet is sent in the system call of its sender, as UDP and raw sockets do. A socket that was
/// inherited or passed on has then another sender than the one who made or connected it. A TCP segment may leave in a
/// softirq, where whoever runs was merely interrupted: it is its socket's owner's.
///
/// # Safety
/// `out` must be valid for writing.
#[inline(always)]
pub unsafe fn write_owner(cookie: u64, by_caller: bool, out: *mut Owner) {
    let sender = SENDER.load();
    let slot = OWNERS.get_ptr(cookie);
    // SAFETY: `slot` points into a map element, `out` is the caller's.
    unsafe {
        if by_caller && sender == SENDER_BY_PID {
            let pid_tgid = bpf_get_current_pid_tgid();
            if let Some(slot) = slot
                && (*slot).owner.tgid == (pid_tgid >> 32) as u32
                && (*slot).owner.tid == pid_tgid as u32
            {
                copy_owner(slot, cookie, out);
            } else {
                write_current(out);
            }
            return;
        }
        if by_caller && sender == SENDER_BY_TASK {
            let task = current_task();
            match (slot, TASKS.get_ptr(task)) {
                (Some(slot), _) if (*slot).task == task => copy_owner(slot, cookie, out),
                (_, Some(known)) => copy_owner(known, task, out),
                // Older than leakmon, and then in the hands of one process alone.
                (Some(slot), None) if (*slot).task == 0 => copy_owner(slot, cookie, out),
                _ => out.write(Owner::UNKNOWN),
            }
            return;
        }
        match slot {
            Some(slot) => copy_owner(slot, cookie, out),
            None => out.write(Owner::UNKNOWN),
        }
    }
}
