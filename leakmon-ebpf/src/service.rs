//! What is asked of services of this machine over Unix sockets: systemd-resolved and nscd look up names for others, and
//! the packets that leave are then theirs.
//!
//! These hooks see every such system call of the machine, so the agent attaches them only where such a service is.

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{
            bpf_get_current_ancestor_cgroup_id, bpf_probe_read_user, bpf_probe_read_user_str,
        },
    },
    macros::tracepoint,
    programs::TracePointContext,
};
use leakmon_common::{
    Head, KIND_SERVICE, Owner, REQUEST_LEN, SERVICE_NSCD, SERVICE_RESOLVED, SOCKET_PATH_LEN,
    ServiceEvent,
};

use crate::{
    emit::{count_lost, wake},
    maps::{CGROUP_ID, CGROUP_LEVEL, EVENTS, SERVICE_PATHS, SERVICE_SOCKETS},
    owner,
};

/// Where a system call's arguments are in its tracepoint's record: eight bytes each, behind the common fields and the
/// number of the call (include/trace/events/syscalls.h, kernel/trace/trace_syscalls.c).
const ARGUMENTS: usize = 16;
/// Address family of Unix sockets (include/linux/socket.h).
const AF_UNIX: u16 = 1;
/// Offset of the array of buffers in what sendmsg(2) is given (`struct user_msghdr`, include/linux/socket.h), where a
/// pointer has eight bytes.
const MSG_IOV: u64 = 16;

/// A process connects a socket: is it to a service?
#[tracepoint]
pub fn service_connect(ctx: TracePointContext) -> u32 {
    let (fd, address) = (argument(&ctx, 0), argument(&ctx, 1));
    let key = socket_key(fd);
    let mut family = 0_u16;
    // SAFETY: the helper checks the address in the process's memory, and writes two bytes.
    let read = unsafe { bpf_probe_read_user((&raw mut family).cast(), 2, address as *const _) };
    let mut service = None;
    if read == 0 && family == AF_UNIX {
        let mut path = [0_u8; SOCKET_PATH_LEN];
        // SAFETY: likewise, of at most as many bytes as there is room for.
        let len = unsafe {
            bpf_probe_read_user_str(
                path.as_mut_ptr().cast(),
                SOCKET_PATH_LEN as u32,
                (address + 2) as *const _,
            )
        };
        if len > 0 {
            // SAFETY: a copy of a plain number.
            service = unsafe { SERVICE_PATHS.get(path) }.copied();
        }
    }
    match service {
        Some(service) => {
            let _ = SERVICE_SOCKETS.insert(key, service, 0);
        }
        // SAFETY: only whether there is an entry matters. The descriptor is another socket's now.
        None if unsafe { SERVICE_SOCKETS.get(key) }.is_some() => {
            let _ = SERVICE_SOCKETS.remove(key);
        }
        None => {}
    }
    0
}

/// A process sends by send(2) or sendto(2).
#[tracepoint]
pub fn service_sendto(ctx: TracePointContext) -> u32 {
    if let Some(service) = service_of(argument(&ctx, 0)) {
        ship(service, argument(&ctx, 1), argument(&ctx, 2));
    }
    0
}

/// A process sends by sendmsg(2). Clients of these services use one buffer.
#[tracepoint]
pub fn service_sendmsg(ctx: TracePointContext) -> u32 {
    let Some(service) = service_of(argument(&ctx, 0)) else {
        return 0;
    };
    let (mut vectors, mut buffer) = (0_u64, [0_u64; 2]);
    let message = argument(&ctx, 1);
    // SAFETY: the helper checks the addresses in the process's memory, and writes as much as there is room for.
    let read = unsafe {
        bpf_probe_read_user(
            (&raw mut vectors).cast(),
            8,
            message.wrapping_add(MSG_IOV) as *const _,
        ) == 0
            && bpf_probe_read_user((&raw mut buffer).cast(), 16, vectors as *const _) == 0
    };
    if read {
        ship(service, buffer[0], buffer[1]);
    }
    0
}

#[inline(always)]
fn argument(ctx: &TracePointContext, number: usize) -> u64 {
    // SAFETY: a system call's record has room for six arguments.
    unsafe {
        ctx.as_ptr()
            .cast::<u8>()
            .add(ARGUMENTS + number * 8)
            .cast::<u64>()
            .read()
    }
}

/// A descriptor of the current process.
#[inline(always)]
fn socket_key(fd: u64) -> u64 {
    bpf_get_current_pid_tgid() & !0xffff_ffff | fd & 0xffff_ffff
}

/// The service that a descriptor of the current process is connected to.
#[inline(always)]
fn service_of(fd: u64) -> Option<u32> {
    // SAFETY: a copy of a plain number.
    let service = unsafe { SERVICE_SOCKETS.get(socket_key(fd)) }.copied()?;
    let wanted = CGROUP_ID.load();
    // SAFETY: the helper takes a number. Kernel 5.6.
    let is_wanted = wanted == 0
        || unsafe { bpf_get_current_ancestor_cgroup_id(CGROUP_LEVEL.load() as i32) } == wanted;
    (is_wanted && (service == SERVICE_RESOLVED || service == SERVICE_NSCD)).then_some(service)
}

#[inline(always)]
fn ship(service: u32, buffer: u64, len: u64) {
    let Some(mut slot) = EVENTS.reserve::<ServiceEvent>(0) else {
        count_lost(true);
        return;
    };
    let event = slot.as_mut_ptr();
    let kept = if len > REQUEST_LEN as u64 {
        REQUEST_LEN as u32
    } else {
        len as u32
    };
    // SAFETY: the slot holds a whole `ServiceEvent`; the helper checks the address in the process's memory, and writes at
    // most as much as there is room for.
    let (read, now) = unsafe {
        (*event).owner = Owner::UNKNOWN;
        owner::write_current(&raw mut (*event).owner);
        let now = (*event).owner.seen_ns;
        (*event).head = Head {
            boot_ns: now,
            kind: KIND_SERVICE,
            detail: 0,
        };
        (*event).service = service;
        (*event).sent_len = len as u32;
        (*event).padding = 0;
        (*event).payload_len = kept;
        let read =
            bpf_probe_read_user((&raw mut (*event).payload).cast(), kept, buffer as *const _);
        (read, now)
    };
    if read != 0 {
        // The memory is not there: the system call fails too, or reads it in later.
        count_lost(true);
        slot.discard(0);
        return;
    }
    slot.submit(wake(now));
}
