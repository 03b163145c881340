//! From a packet to the ring buffer.
//!
//! The verifier wants slot sizes known at load time, so there are four; per-CPU scratch is avoided because these hooks
//! can be interrupted on the same CPU by themselves.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    bindings::{__sk_buff, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_skb_load_bytes},
};
use leakmon_common::{
    EGRESS, HUGE_PAYLOAD, Head, KIND_PACKET, LARGE_PAYLOAD, MEDIUM_PAYLOAD, Owner, PacketHeader,
    PacketSlot, ProcessEvent, REASON_DNS, SMALL_PAYLOAD, WAKE_NS,
};

use crate::{
    headers::{Network, addresses},
    maps::{EVENTS, LOST, WOKEN},
    owner,
};

/// A packet that the agent wants to see.
pub struct Packet {
    /// Cookie of its socket.
    pub cookie: u64,
    /// `EGRESS` or `INGRESS`.
    pub direction: u32,
    /// `REASON_DNS` or `REASON_PROXY`.
    pub reason: u32,
    /// Its network header.
    pub network: Network,
    /// Source port in host order.
    pub source_port: u16,
    /// Destination port in host order.
    pub destination_port: u16,
    /// Offset of the payload from the start of the packet.
    pub payload: u32,
    /// Bytes of payload.
    pub len: u32,
    /// TCP sequence number of the first payload byte.
    pub sequence: u32,
    /// Length of each datagram when there are several.
    pub datagram_len: u32,
    /// It leaves in the system call of whoever sends it.
    pub by_caller: bool,
}

/// Ships the packet, or counts it as lost.
#[inline(always)]
pub fn emit(skb: *mut __sk_buff, packet: &Packet) -> Option<()> {
    if packet.len == 0 {
        return None;
    }
    if packet.len <= SMALL_PAYLOAD as u32 {
        ship::<SMALL_PAYLOAD>(skb, packet)
    } else if packet.len <= MEDIUM_PAYLOAD as u32 {
        ship::<MEDIUM_PAYLOAD>(skb, packet)
    } else if packet.len <= LARGE_PAYLOAD as u32 {
        ship::<LARGE_PAYLOAD>(skb, packet)
    } else {
        ship::<HUGE_PAYLOAD>(skb, packet)
    }
}

#[inline(always)]
fn ship<const N: usize>(skb: *mut __sk_buff, packet: &Packet) -> Option<()> {
    let (source, destination) = addresses(skb, &packet.network)?;
    // SAFETY: the helper takes no argument.
    let boot_ns = unsafe { bpf_ktime_get_boot_ns() };
    let Some(mut slot) = EVENTS.reserve::<PacketSlot<N>>(0) else {
        count_lost(packet.direction == EGRESS && packet.reason == REASON_DNS);
        return None;
    };
    let event = slot.as_mut_ptr();
    // SAFETY: the slot holds a whole `PacketSlot<N>`, and `len` is at most `N`.
    let copied = unsafe {
        (*event).header = PacketHeader {
            head: Head {
                boot_ns,
                kind: KIND_PACKET,
                detail: packet.datagram_len,
            },
            cookie: packet.cookie,
            owner: Owner::UNKNOWN,
            direction: packet.direction,
            reason: packet.reason,
            ip_version: packet.network.version,
            protocol: packet.network.protocol,
            source,
            destination,
            source_port: u32::from(packet.source_port),
            destination_port: u32::from(packet.destination_port),
            ifindex: (*skb).ifindex,
            tcp_sequence: packet.sequence,
            wire_len: packet.len,
            payload_len: packet.len.min(N as u32),
        };
        owner::write_owner(
            packet.cookie,
            packet.by_caller,
            &raw mut (*event).header.owner,
        );
        // Bounded here and not before: the verifier of 6.1 forgets what it learnt of a value that the compiler has
        // put aside on the stack meanwhile.
        bounded::<N>(packet.len).is_some_and(|len| {
            bpf_skb_load_bytes(
                skb.cast(),
                packet.payload,
                (&raw mut (*event).payload).cast(),
                len as u32,
            ) == 0
        })
    };
    if !copied {
        // The bytes are not there, so there is no message to lose.
        slot.discard(0);
        return None;
    }
    slot.submit(wake(boot_ns));
    Some(())
}

/// Ships what happened to the current process, or counts it as lost.
#[inline(always)]
pub fn emit_process(kind: u32, owner: Owner, detail: u32) {
    let boot_ns = owner.seen_ns;
    let Some(mut slot) = EVENTS.reserve::<ProcessEvent>(0) else {
        count_lost(false);
        return;
    };
    slot.write(ProcessEvent {
        head: Head {
            boot_ns,
            kind,
            detail,
        },
        owner,
    });
    slot.submit(wake(boot_ns));
}

/// At most `N`, at least 1, in a way that the verifier can follow: read back through memory, so that the compiler cannot
/// leave out a comparison that it knows the result of and the verifier does not.
#[inline(always)]
fn bounded<const N: usize>(len: u32) -> Option<u64> {
    // Signed: the verifier of 6.1 learns no lower bound from `!= 0` (kernel/bpf/verifier.c), which is what the
    // compiler makes of an unsigned `< 1`.
    let len = i64::from(len);
    // SAFETY: a reference is valid to read.
    let len = unsafe { core::ptr::read_volatile(&len) };
    if len < 1 {
        None
    } else if len > N as i64 {
        Some(N as u64)
    } else {
        Some(len as u64)
    }
}

/// Whether the record submitted now wakes the agent, as flags of the ring buffer.
///
/// Two processors may both find that it is time, or read the time while it is written: one wake-up too many or, with the
/// next record, one record later.
#[inline(always)]
pub fn wake(now: u64) -> u64 {
    let Some(woken) = WOKEN.get_ptr_mut(0) else {
        return u64::from(BPF_RB_FORCE_WAKEUP);
    };
    // SAFETY: points to the one element of an array; aligned.
    unsafe {
        if now.wrapping_sub(woken.read_volatile()) < WAKE_NS {
            return u64::from(BPF_RB_NO_WAKEUP);
        }
        woken.write_volatile(now);
    }
    u64::from(BPF_RB_FORCE_WAKEUP)
}

/// Counts an event that found no room.
#[inline(always)]
pub fn count_lost(is_query: bool) {
    let Some(lost) = LOST.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a per-CPU element, aligned for u64; atomic, because a softirq may run this on the same CPU meanwhile.
    unsafe {
        let counter = if is_query {
            &raw mut (*lost).queries
        } else {
            &raw mut (*lost).others
        };
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1);
    }
}
