//! leakmon's kernel programs: who owns which socket, and the packets that may carry a name.
//!
//! Only cgroup programs and a classifier, whose contexts are stable kernel interface (include/uapi/linux/bpf.h), and raw tracepoints whose
//! arguments are not looked at: no kernel structure is read, so one object loads on every kernel from 5.10 on. Ports and headers are checked here and bytes are shipped;
//! names are parsed by the agent.
#![no_std]
#![no_main]
// The target has no `AtomicU64::fetch_add`, though its instruction set has the operation.
#![feature(core_intrinsics)]
#![allow(internal_features)]

mod connect;
mod emit;
mod headers;
mod interface;
mod maps;
mod owner;
mod packet;
mod process;
mod proxy;
mod service;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // No path of these programs panics; were one to appear, the verifier would refuse this endless loop at load time.
    loop {}
}

/// The kernel lends some helpers to GPL-compatible programs only (kernel/bpf/syscall.c).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
