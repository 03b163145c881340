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
    KIND_FORK, MAX_ARGUMENTS, MAX_VARIABLES, PATH_LEN,
};

use crate::{
    emit::{count_lost, emit_process, wake},
    maps::{EVENTS, VARIABLES},
    owner,
};

/// Offset of a system call's first argument in its tracepoint's record: behind the common fields and the number
/// (kernel/trace/trace_syscalls.c).
const FIRST_ARGUMENT: usize = 16;

/// Offset of the new task's pid in the record of task_newtask (include/trace/events/task.h).
const NEW_PID: usize = 8;
/// Offset of the flags of clone(2) there. The agent compares both with the tracepoint's own description.
const CLONE_FLAGS: usize = 32;
/// The new task is a thread of the same process (include/uapi/linux/sched.h).
const CLONE_THREAD: u64 = 0x0001_0000;

/// The current process makes a task.
#[tracepoint]
pub fn newtask(ctx: TracePointContext) -> u32 {
    // SAFETY: both fields are within the record.
    let (pid, flags) = unsafe {
        let record = ctx.as_ptr().cast::<u8>();
        (
            *record.add(NEW_PID).cast::<u32>(),
            *record.add(CLONE_FLAGS).cast::<u64>(),
        )
    };
    if flags & CLONE_THREAD == 0 {
        emit_process(KIND_FORK, owner::current(), pid);
    }
    0
}

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
    let (path, argv, envp) = unsafe {
        let first = ctx.as_ptr().cast::<u8>().add(FIRST_ARGUMENT).cast::<u64>();
        (
            *first.add(path_index),
            *first.add(path_index + 1),
            *first.add(path_index + 2),
        )
    };
    let Some(mut slot) = EVENTS.reserve::<ArgumentsEvent>(0) else {
        count_lost(false);
        return;
    };
    let event = slot.as_mut_ptr();
    // SAFETY: the slot holds a whole `ArgumentsEvent`, and `copy_strings` gets the fields it is made for.
    unsafe {
        owner::write_current(&raw mut (*event).owner);
        (*event).head = Head {
            boot_ns: (*event).owner.seen_ns,
            kind: KIND_ARGUMENTS,
            detail: 0,
        };
        let to = (&raw mut (*event).path).cast::<u8>();
        if bpf_probe_read_user_str(to.cast(), PATH_LEN as u32, path as *const _) < 0 {
            to.write(0);
        }
        let to = (&raw mut (*event).arguments).cast::<u8>();
        let (len, cut) = copy_strings(argv, MAX_ARGUMENTS, to, |_| true);
        (*event).arguments_len = len;
        (*event).arguments_cut = cut;
        let to = (&raw mut (*event).environment).cast::<u8>();
        let (len, cut) = copy_strings(envp, MAX_VARIABLES, to, is_about_proxies);
        (*event).environment_len = len;
        (*event).environment_cut = cut;
    }
    // SAFETY: the slot's owner was written above.
    let now = unsafe { (*event).head.boot_ns };
    slot.submit(wake(now));
}

/// Copies the wanted strings of a list that a null pointer ends. Returns how many bytes they take, and 1 when there were
/// more or longer ones than fit.
///
/// # Safety
/// `to` must have room for `ARGUMENTS_LEN + ARGUMENT_LEN` bytes.
#[inline(always)]
unsafe fn copy_strings(
    list: u64,
    most: u32,
    to: *mut u8,
    wanted: impl Fn(u64) -> bool,
) -> (u32, u32) {
    let mut len = 0_u64;
    for index in 0..most {
        let mut string = 0_u64;
        let from = (list as *const u64).wrapping_add(index as usize);
        // SAFETY: the helpers check every address in the process's memory, and write at most the lengths given: eight
        // bytes to a number, and one string behind an offset that is looked at here.
        unsafe {
            if bpf_probe_read_user((&raw mut string).cast(), 8, from.cast()) != 0 {
                break;
            }
            if string == 0 {
                return (len as u32, 0);
            }
            if !wanted(string) {
                continue;
            }
            let offset = core::ptr::read_volatile(&len);
            if offset >= ARGUMENTS_LEN as u64 {
                break;
            }
            let to = to.add(offset as usize).cast();
            let got = bpf_probe_read_user_str(to, ARGUMENT_LEN as u32, string as *const _);
            if got <= 0 || got as u64 >= ARGUMENT_LEN as u64 {
                break;
            }
            len = offset + got as u64;
        }
    }
    (len as u32, 1)
}

/// Whether a variable begins like one that says something about proxies.
#[inline(always)]
fn is_about_proxies(variable: u64) -> bool {
    let mut begins = [0_u8; 8];
    // SAFETY: the helper checks the address, and writes eight bytes. What has fewer before the end of memory is no such
    // variable.
    unsafe {
        if bpf_probe_read_user((&raw mut begins).cast(), 8, variable as *const _) != 0 {
            return false;
        }
    }
    // SAFETY: only whether there is an entry matters.
    unsafe { VARIABLES.get(begins) }.is_some()
}

/// A process runs another program; its memory is already that program's. Kernel 4.17.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn exec(_ctx: RawTracePointContext) -> i32 {
    let owner = owner::current();
    owner::know_task(owner::current_task(), owner);
    emit_process(KIND_EXEC, owner, 0);
    0
}

/// A thread ends; only the leader's end is the process's. Kernel 4.17.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn exit(_ctx: RawTracePointContext) -> i32 {
    owner::forget_task();
    let owner = owner::current();
    if owner.tgid == owner.tid {
        emit_process(KIND_EXIT, owner, 0);
    }
    0
}
