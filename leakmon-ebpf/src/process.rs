//! What happens to processes, told early enough for the agent to read a program that lives for a moment only.
//!
//! The beginning and the end are raw tracepoints: they need no tracefs, and no argument either, since `current` is the
//! process itself. The arguments of execve(2) are those of the system call's own tracepoint, which are stable: they are the
//! system call's.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_probe_read_user, bpf_probe_read_user_str},
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use leakmon_common::{
    ARGUMENT_LEN, ARGUMENTS_LEN, ArgumentsEvent, Head, KIND_ARGUMENTS, KIND_EXEC, KIND_EXIT,
    MAX_ARGUMENTS, PATH_LEN,
};

use crate::{
    emit::{count_lost, emit_process},
    maps::EVENTS,
    owner,
};

/// Offset of a system call's first argument in its tracepoint's record: behind the common fields and the number
/// (kernel/trace/trace_syscalls.c).
const FIRST_ARGUMENT: usize = 16;

/// execve(path, argv, envp).
#[tracepoint]
pub fn execve(ctx: TracePointContext) -> u32 {
    arguments(&ctx, 0);
    0
}

/// execveat(dirfd, path, argv, envp, flags).
#[tracepoint]
pub fn execveat(ctx: TracePointContext) -> u32 {
    arguments(&ctx, 1);
    0
}

/// Ships what the current process hands over: it may be gone before anybody can read it elsewhere.
#[inline(always)]
fn arguments(ctx: &TracePointContext, path_index: usize) {
    // SAFETY: these offsets are within the record of a system call of three arguments or more.
    let (path, argv) = unsafe {
        let first = ctx.as_ptr().cast::<u8>().add(FIRST_ARGUMENT).cast::<u64>();
        (*first.add(path_index), *first.add(path_index + 1))
    };
    let Some(mut slot) = EVENTS.reserve::<ArgumentsEvent>(0) else {
        count_lost(false);
        return;
    };
    let event = slot.as_mut_ptr();
    // SAFETY: the slot holds a whole `ArgumentsEvent`; the helpers check every address in the process's memory and write
    // at most the lengths given, which end within the fields.
    unsafe {
        owner::write_current(&raw mut (*event).owner);
        (*event).head = Head {
            boot_ns: (*event).owner.seen_ns,
            kind: KIND_ARGUMENTS,
            datagram_len: 0,
        };
        let to = (&raw mut (*event).path).cast::<u8>();
        if bpf_probe_read_user_str(to.cast(), PATH_LEN as u32, path as *const _) < 0 {
            to.write(0);
        }
        let mut len = 0_u64;
        let mut cut = 1;
        for index in 0..MAX_ARGUMENTS {
            let mut argument = 0_u64;
            let from = (argv as *const u64).wrapping_add(index as usize);
            if bpf_probe_read_user((&raw mut argument).cast(), 8, from.cast()) != 0 {
                break;
            }
            if argument == 0 {
                cut = 0;
                break;
            }
            let offset = core::ptr::read_volatile(&len);
            if offset >= ARGUMENTS_LEN as u64 {
                break;
            }
            let to = (&raw mut (*event).arguments)
                .cast::<u8>()
                .add(offset as usize);
            let got = bpf_probe_read_user_str(to.cast(), ARGUMENT_LEN as u32, argument as *const _);
            if got <= 0 || got as u64 >= ARGUMENT_LEN as u64 {
                break;
            }
            len = offset + got as u64;
        }
        (*event).len = len as u32;
        (*event).cut = cut;
    }
    slot.submit(0);
}

/// A process runs another program; its memory is already that program's. Kernel 4.17.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn exec(_ctx: RawTracePointContext) -> i32 {
    let owner = owner::current();
    owner::know_task(owner::current_task(), owner);
    emit_process(KIND_EXEC, owner);
    0
}

/// A thread ends; only the leader's end is the process's. Kernel 4.17.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn exit(_ctx: RawTracePointContext) -> i32 {
    owner::forget_task();
    let owner = owner::current();
    if owner.tgid == owner.tid {
        emit_process(KIND_EXIT, owner);
    }
    0
}
