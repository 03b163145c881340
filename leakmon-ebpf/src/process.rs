//! What happens to processes, told early enough for the agent to read a program that lives for a moment only.
//!
//! The beginning and the end are raw tracepoints: they need no tracefs, and no argument either, since `current` is the
//! process itself. A program's arguments are where every program finds them, on its stack. (The tracepoint of execve(2)
//! has them too; but while anybody listens to one system call, the kernel stops at every one of every process.)

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{
        bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_probe_read_user,
        bpf_probe_read_user_str, bpf_task_pt_regs,
    },
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use leakmon_common::{
    ARGUMENT_LEN, ARGUMENTS_LEN, ArgumentsEvent, Head, KIND_ARGUMENTS, KIND_EXEC, KIND_EXIT,
    KIND_FORK, MAX_ARGUMENTS, MAX_VARIABLES, PATH_LEN,
};

use crate::{
    emit::{count_lost, emit_process, wake},
    maps::{EVENTS, STACK_POINTER, VARIABLES},
    owner,
};

/// Type of the entry of the auxiliary vector that has the path which the program was started by (getauxval(3)).
const AT_EXECFN: u64 = 31;
/// Entries of the auxiliary vector that are looked at: Linux makes about 20.
const MAX_AUXILIARY: u32 = 32;

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

/// A process runs another program: what it was started with. Kernel 5.15 (`bpf_task_pt_regs`), with BTF.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn arguments(_ctx: RawTracePointContext) -> i32 {
    let mut stack = 0_u64;
    // SAFETY: the helpers take and give pointers to the current task's own structures; the address of the stack pointer
    // among its saved registers is system call interface (arch/*/include/uapi/asm/ptrace.h), and read by a helper that
    // checks it.
    let read = unsafe {
        let registers = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const u8;
        let pointer = registers.wrapping_add(STACK_POINTER.load() as usize);
        bpf_probe_read_kernel((&raw mut stack).cast(), 8, pointer.cast())
    };
    if read == 0 {
        ship_arguments(stack);
    }
    0
}

/// Ships what is on the stack of a program that begins (System V ABI, "Initial Process Stack"): the number of arguments,
/// the arguments, a null, the environment, a null, the auxiliary vector.
#[inline(always)]
fn ship_arguments(stack: u64) {
    let mut count = 0_u64;
    // SAFETY: the helper checks the address in the process's memory.
    if unsafe { bpf_probe_read_user((&raw mut count).cast(), 8, stack as *const _) } != 0 {
        return;
    }
    let argv = stack.wrapping_add(8);
    let envp = argv.wrapping_add(count.wrapping_add(1).wrapping_mul(8));
    let Some(mut slot) = EVENTS.reserve::<ArgumentsEvent>(0) else {
        count_lost(false);
        return;
    };
    let event = slot.as_mut_ptr();
    // SAFETY: the slot holds a whole `ArgumentsEvent`, and the functions get the fields that they are made for.
    let now = unsafe {
        owner::write_current(&raw mut (*event).owner);
        (*event).head = Head {
            boot_ns: (*event).owner.seen_ns,
            kind: KIND_ARGUMENTS,
            detail: 0,
        };
        copy_strings(
            argv,
            MAX_ARGUMENTS,
            &Strings {
                to: (&raw mut (*event).arguments).cast(),
                len: &raw mut (*event).arguments_len,
                cut: &raw mut (*event).arguments_cut,
            },
            |_| true,
        );
        let auxiliary = copy_strings(
            envp,
            MAX_VARIABLES,
            &Strings {
                to: (&raw mut (*event).environment).cast(),
                len: &raw mut (*event).environment_len,
                cut: &raw mut (*event).environment_cut,
            },
            is_about_proxies,
        );
        copy_path(auxiliary, (&raw mut (*event).path).cast());
        (*event).head.boot_ns
    };
    slot.submit(wake(now));
}

/// Copies the path that the program was started by, empty when it is not found.
///
/// # Safety
/// `to` must have room for `PATH_LEN` bytes.
#[inline(always)]
unsafe fn copy_path(auxiliary: u64, to: *mut u8) {
    // SAFETY: the helpers check every address in the process's memory, and write at most the lengths given.
    unsafe {
        to.write(0);
        if auxiliary == 0 {
            return;
        }
        for index in 0..MAX_AUXILIARY {
            let mut entry = [0_u64; 2];
            let from = auxiliary.wrapping_add(u64::from(index) * 16);
            if bpf_probe_read_user((&raw mut entry).cast(), 16, from as *const _) != 0 {
                return;
            }
            if entry[0] == AT_EXECFN {
                if bpf_probe_read_user_str(to.cast(), PATH_LEN as u32, entry[1] as *const _) < 0 {
                    to.write(0);
                }
                return;
            }
            if entry[0] == 0 {
                return;
            }
        }
    }
}

/// Where strings are copied to, and what came of it.
///
/// All of it in the record, whose content the verifier does not follow: what it can tell apart, it walks apart, and a
/// loop over variables is then longer than old kernels have patience for.
struct Strings {
    /// Room for `ARGUMENTS_LEN + ARGUMENT_LEN` bytes.
    to: *mut u8,
    /// Bytes that were copied.
    len: *mut u32,
    /// 1 when there were more or longer ones than fit.
    cut: *mut u32,
}

/// Copies the wanted strings of a list that a null pointer ends. A string too many or too long is left out, and said.
/// Returns where the list ends in the process's memory, 0 when the end was not reached.
///
/// # Safety
/// The pointers must be valid for what they are for.
#[inline(always)]
unsafe fn copy_strings(
    list: u64,
    most: u32,
    strings: &Strings,
    wanted: impl Fn(u64) -> bool,
) -> u64 {
    // SAFETY: the fields are the caller's. The helpers check every address in the process's memory, and write at most the
    // lengths given: eight bytes to a number, and one string behind an offset that is looked at here.
    unsafe {
        strings.len.write_volatile(0);
        strings.cut.write_volatile(0);
        for index in 0..most {
            let mut string = 0_u64;
            let from = list.wrapping_add(u64::from(index) * 8);
            if bpf_probe_read_user((&raw mut string).cast(), 8, from as *const _) != 0 {
                break;
            }
            if string == 0 {
                return from.wrapping_add(8);
            }
            if !wanted(string) {
                continue;
            }
            let offset = strings.len.read_volatile();
            if offset >= ARGUMENTS_LEN as u32 {
                strings.cut.write_volatile(1);
                continue;
            }
            let to = strings.to.add(offset as usize).cast();
            let got = bpf_probe_read_user_str(to, ARGUMENT_LEN as u32, string as *const _);
            if got <= 0 || got as u64 >= ARGUMENT_LEN as u64 {
                strings.cut.write_volatile(1);
                continue;
            }
            strings.len.write_volatile(offset + got as u32);
        }
        strings.cut.write_volatile(1);
    }
    0
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
