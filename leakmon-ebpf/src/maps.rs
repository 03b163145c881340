//! The maps shared by the programs and the agent.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use leakmon_common::{Lost, OwnerSlot, PORT_WORDS, SENDER_IS_OWNER, SOCKET_PATH_LEN};

/// Socket cookie → owner. Least recently used entries give way when it is full: the owner is then unknown, never wrong.
#[map]
pub static OWNERS: LruHashMap<u64, OwnerSlot> = LruHashMap::with_max_entries(65_536, 0);

/// Address of a task → who it is, for kernels on which a packet hook learns the address only.
#[map]
pub static TASKS: LruHashMap<u64, OwnerSlot> = LruHashMap::with_max_entries(32_768, 0);

/// Cookies of TCP connections that began like a conversation with a proxy.
#[map]
pub static PROXIED: LruHashMap<u64, u8> = LruHashMap::with_max_entries(16_384, 0);

/// The first eight bytes of the environment's variables that are copied, filled by the agent. A map and not a row of
/// comparisons: the verifier would walk each of these for each variable.
#[map]
pub static VARIABLES: HashMap<[u8; 8], u8> = HashMap::with_max_entries(64, 0);

/// Path of a Unix socket, with zeros behind it → the service that listens there, filled by the agent.
#[map]
pub static SERVICE_PATHS: HashMap<[u8; SOCKET_PATH_LEN], u32> = HashMap::with_max_entries(16, 0);

/// Process id (upper half) and descriptor → the service that it was connected to last.
#[map]
pub static SERVICE_SOCKETS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(8192, 0);

/// Bitmap of the DNS ports, filled by the agent: bit `port % 64` of word `port / 64`.
#[map]
pub static DNS_PORTS: Array<u64> = Array::with_max_entries(PORT_WORDS, 0);

/// Packets on their way to the agent; the agent sets the size when it loads the programs.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// Events that found no room in [`EVENTS`].
#[map]
pub static LOST: PerCpuArray<Lost> = PerCpuArray::with_max_entries(1, 0);

/// Whether the agent asked for packets of this port (host order).
#[inline(always)]
pub fn is_dns_port(port: u16) -> bool {
    match DNS_PORTS.get(u32::from(port >> 6)) {
        Some(word) => *word >> (port & 63) & 1 == 1,
        None => false,
    }
}

/// When the agent was woken last, in nanoseconds of `CLOCK_BOOTTIME`.
#[map]
pub static WOKEN: Array<u64> = Array::with_max_entries(1, 0);

/// How a packet hook learns who sends: the agent sets the best that the kernel takes.
#[unsafe(no_mangle)]
pub static SENDER: Global<u32> = Global::new(SENDER_IS_OWNER);

/// Id of the one cgroup that is watched with all below it, for hooks that are not attached to one; 0 for the whole
/// machine.
#[unsafe(no_mangle)]
pub static CGROUP_ID: Global<u64> = Global::new(0);

/// How deep below the root of the hierarchy that cgroup is.
#[unsafe(no_mangle)]
pub static CGROUP_LEVEL: Global<u32> = Global::new(0);

/// Offset of the stack pointer among a task's saved registers on this architecture.
#[unsafe(no_mangle)]
pub static STACK_POINTER: Global<u32> = Global::new(0);
