//! What happens to processes, told early enough for the agent to read a program that lives for a moment only.
//!
//! Raw tracepoints: they need no tracefs, and these two need no argument either, since `current` is the process itself.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use leakmon_common::{KIND_EXEC, KIND_EXIT};

use crate::{emit::emit_process, owner};

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
