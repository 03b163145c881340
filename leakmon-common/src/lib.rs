//! What crosses the boundary between leakmon's kernel programs and its agent, and nothing else.
//!
//! Every type is `#[repr(C)]`, has no padding (deriving [`IntoBytes`] proves it at compile time) and holds plain
//! integers only: a tag is a `u32` that the agent decodes by checking it, never an `enum` that could be forged.
#![no_std]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Longest thread name the kernel keeps, with its NUL (`TASK_COMM_LEN`, include/linux/sched.h).
pub const COMM_LEN: usize = 16;

/// Payload bytes that fit the small slot: nearly every query and every SOCKS message.
pub const SMALL_PAYLOAD: usize = 256;
/// Payload bytes that fit the medium slot: a full Ethernet frame.
pub const MEDIUM_PAYLOAD: usize = 1536;
/// Payload bytes that fit the large slot: the longest query with EDNS that is common (RFC 6891 section 6.2.5).
pub const LARGE_PAYLOAD: usize = 4096;
/// Payload bytes that fit the huge slot: all that a packet can have. A TCP segment on its way to the card may be as long
/// (segmentation offload).
pub const HUGE_PAYLOAD: usize = 65_536;

/// [`Head::kind`]: a [`PacketHeader`] with its payload.
pub const KIND_PACKET: u32 = 1;
/// [`Head::kind`]: a [`ProcessEvent`]: the process runs another program from now on.
pub const KIND_EXEC: u32 = 2;
/// [`Head::kind`]: a [`ProcessEvent`]: the leader of the thread group ended.
pub const KIND_EXIT: u32 = 3;

/// [`Head::kind`]: an [`ArgumentsEvent`]: what the process's new program was started with; [`KIND_EXEC`] follows.
pub const KIND_ARGUMENTS: u32 = 4;

/// [`Head::kind`]: a [`ProcessEvent`]: the process made another one, whose pid is in [`Head::detail`].
pub const KIND_FORK: u32 = 5;

/// [`Head::kind`]: a [`ConnectEvent`]: a process connects over TCP to another machine.
pub const KIND_CONNECT: u32 = 6;

/// [`Head::kind`]: a [`ServiceEvent`]: a process sends to a service of this machine that looks up names.
pub const KIND_SERVICE: u32 = 7;

/// [`ServiceEvent::service`]: systemd-resolved, over its varlink socket.
pub const SERVICE_RESOLVED: u32 = 1;
/// [`ServiceEvent::service`]: nscd.
pub const SERVICE_NSCD: u32 = 2;

/// Bytes of a Unix socket's path that are compared, with the NUL that ends it.
pub const SOCKET_PATH_LEN: usize = 48;
/// Bytes kept of what is sent to a service: a name has 255 at most (RFC 1035 section 2.3.4), in JSON perhaps six times as
/// many (RFC 8259 section 7).
pub const REQUEST_LEN: usize = 2048;

/// Bytes kept of a program's path when it is started.
pub const PATH_LEN: usize = 256;
/// Arguments kept when a program is started.
pub const MAX_ARGUMENTS: u32 = 32;
/// Bytes kept of one argument, with its NUL.
pub const ARGUMENT_LEN: usize = 256;
/// Bytes kept of all arguments. Room for one more is behind them, so that the last may begin anywhere.
pub const ARGUMENTS_LEN: usize = 512;

/// Variables of the environment that are looked at when a program is started.
pub const MAX_VARIABLES: u32 = 128;

/// The first eight bytes of the variables that say something about proxies. The agent knows the whole names; this only
/// keeps the rest of the environment, which is none of leakmon's business, from being copied.
pub const PROXY_VARIABLES: [[u8; 8]; 22] = [
    *b"http_pro",
    *b"HTTP_PRO",
    *b"https_pr",
    *b"HTTPS_PR",
    *b"ftp_prox",
    *b"FTP_PROX",
    *b"all_prox",
    *b"ALL_PROX",
    *b"no_proxy",
    *b"NO_PROXY",
    *b"auto_pro",
    *b"AUTO_PRO",
    *b"socks_pr",
    *b"SOCKS_PR",
    *b"SOCKS_SE",
    *b"SOCKS_VE",
    *b"LD_PRELO",
    *b"PROXYCHA",
    *b"PROXYRES",
    *b"TORSOCKS",
    *b"TSOCKS_C",
    *b"JAVA_TOO",
];

/// [`PacketHeader::direction`]: the packet left its socket.
pub const EGRESS: u32 = 1;
/// [`PacketHeader::direction`]: the packet is about to reach its socket.
pub const INGRESS: u32 = 2;

/// [`PacketHeader::reason`]: one of the ports is a DNS port.
pub const REASON_DNS: u32 = 1;
/// [`PacketHeader::reason`]: the connection began like a conversation with a proxy.
pub const REASON_PROXY: u32 = 2;

/// A TCP connection that looks like one to a proxy is followed for this many data segments in each direction. The longest
/// honest handshake (greeting, user and password, request) takes three; retransmissions count too.
pub const PROXY_SEGMENTS: u32 = 12;

/// Value of the kernel side's `SENDER`: a packet hook cannot tell who is running, so a packet's owner is its socket's.
pub const SENDER_IS_OWNER: u32 = 0;
/// Value of `SENDER`: a packet hook can tell which task is running, by its address (`bpf_get_current_task` in
/// cgroup_skb programs).
pub const SENDER_BY_TASK: u32 = 1;
/// Value of `SENDER`: a packet hook can tell which process is running (`bpf_get_current_pid_tgid` in cgroup_skb
/// programs, from 6.10 on).
pub const SENDER_BY_PID: u32 = 2;

/// The agent is woken at most once in this many nanoseconds: waking it costs the sender more than everything else. It
/// looks again by itself once that time is over.
pub const WAKE_NS: u64 = 1_000_000;

/// 64-bit words in the bitmap of DNS ports: one bit for each of the 65,536 ports.
pub const PORT_WORDS: u32 = 65_536 / 64;

/// Who used a socket, as the kernel knew it in that process's own context.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Owner {
    /// When the kernel recorded this, in nanoseconds of `CLOCK_BOOTTIME`.
    pub seen_ns: u64,
    /// Process (thread group) id in the initial pid namespace; 0 when the owner is not known.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Real user id in the initial user namespace.
    pub uid: u32,
    /// Real group id in the initial user namespace.
    pub gid: u32,
    /// The thread's name, NUL-terminated.
    pub comm: [u8; COMM_LEN],
}

impl Owner {
    /// The owner of a socket nobody was seen to create or use.
    pub const UNKNOWN: Self = Self {
        seen_ns: 0,
        tgid: 0,
        tid: 0,
        uid: 0,
        gid: 0,
        comm: [0; COMM_LEN],
    };
}

/// An owner with the key it is kept under.
///
/// Hash map elements are recycled without waiting for readers (kernel/bpf/hashtab.c), so a reader checks after copying
/// that the element is still that of its key.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct OwnerSlot {
    /// Cookie of the socket, or address of the task, that this slot is for.
    pub key: u64,
    /// Address of the task that acted last, as an identity and nothing else; 0 when it is not known.
    pub task: u64,
    /// Who it is.
    pub owner: Owner,
}

/// The head of every ring-buffer record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Head {
    /// When it happened, in nanoseconds of `CLOCK_BOOTTIME`.
    pub boot_ns: u64,
    /// What kind of record this is.
    pub kind: u32,
    /// For a UDP packet that holds several datagrams of one length (UDP_SEGMENT, udp(7)), that length. For a fork the new
    /// process's pid in the initial pid namespace. Otherwise 0.
    pub detail: u32,
}

/// Something that happened to a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessEvent {
    /// [`KIND_EXEC`], [`KIND_EXIT`] or [`KIND_FORK`].
    pub head: Head,
    /// The process.
    pub owner: Owner,
}

/// What a new program was started with, as it was on its stack when it began.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ArgumentsEvent {
    /// [`KIND_ARGUMENTS`].
    pub head: Head,
    /// The process.
    pub owner: Owner,
    /// 1 when there were more or longer arguments than are kept.
    pub arguments_cut: u32,
    /// Bytes of [`Self::arguments`] in use: NUL-terminated strings one behind the other.
    pub arguments_len: u32,
    /// 1 when there were more or longer variables than are kept.
    pub environment_cut: u32,
    /// Bytes of [`Self::environment`] in use, likewise.
    pub environment_len: u32,
    /// The path, NUL-terminated.
    pub path: [u8; PATH_LEN],
    /// The arguments.
    pub arguments: [u8; ARGUMENTS_LEN + ARGUMENT_LEN],
    /// Those variables of the environment that begin like one of [`PROXY_VARIABLES`].
    pub environment: [u8; ARGUMENTS_LEN + ARGUMENT_LEN],
}

/// A process connects over TCP to an address that is not of the loopback network.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ConnectEvent {
    /// [`KIND_CONNECT`].
    pub head: Head,
    /// Cookie of the socket.
    pub cookie: u64,
    /// The process.
    pub owner: Owner,
    /// The address; an IPv4 one is in the first four bytes.
    pub destination: [u8; 16],
    /// 4 or 6: the hook's, so an IPv4 address may be one mapped into IPv6 (RFC 4291 section 2.5.5.2).
    pub ip_version: u32,
    /// The port in host order.
    pub port: u32,
}

/// A process sends to a service of this machine.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ServiceEvent {
    /// [`KIND_SERVICE`].
    pub head: Head,
    /// The process.
    pub owner: Owner,
    /// [`SERVICE_RESOLVED`] or [`SERVICE_NSCD`].
    pub service: u32,
    /// Bytes that are sent.
    pub sent_len: u32,
    /// Bytes of [`Self::payload`] in use: as many, or fewer when there is no room for all.
    pub payload_len: u32,
    /// 0.
    pub padding: u32,
    /// What is sent.
    pub payload: [u8; REQUEST_LEN],
}

/// What a packet is; its payload follows in the same slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PacketHeader {
    /// [`KIND_PACKET`].
    pub head: Head,
    /// The socket's cookie: unique for the life of the machine (net/core/sock_diag.c), 0 without a socket.
    pub cookie: u64,
    /// Who used the socket last.
    pub owner: Owner,
    /// [`EGRESS`] or [`INGRESS`].
    pub direction: u32,
    /// [`REASON_DNS`] or [`REASON_PROXY`].
    pub reason: u32,
    /// 4 or 6, by the packet's own version nibble: an IPv6 socket may carry IPv4.
    pub ip_version: u32,
    /// IP protocol number: 6 for TCP, 17 for UDP.
    pub protocol: u32,
    /// Source address; an IPv4 one is in the first four bytes.
    pub source: [u8; 16],
    /// Destination address; an IPv4 one is in the first four bytes.
    pub destination: [u8; 16],
    /// Source port in host order.
    pub source_port: u32,
    /// Destination port in host order.
    pub destination_port: u32,
    /// Interface the packet leaves or came through; 1 is always loopback (LOOPBACK_IFINDEX, include/net/flow.h).
    pub ifindex: u32,
    /// TCP sequence number of the first payload byte; 0 for UDP.
    pub tcp_sequence: u32,
    /// Payload bytes on the wire.
    pub wire_len: u32,
    /// Payload bytes in this record; fewer than `wire_len` when the payload was cut.
    pub payload_len: u32,
}

/// A slot of the ring buffer: the kernel reserves one of four fixed sizes.
#[repr(C)]
pub struct PacketSlot<const N: usize> {
    /// What the packet is.
    pub header: PacketHeader,
    /// Its first bytes; those past [`PacketHeader::payload_len`] are not initialised.
    pub payload: [u8; N],
}

/// Events that found no room in the ring buffer, counted per CPU.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Lost {
    /// Packets to a DNS port since the programs were loaded.
    pub queries: u64,
    /// All other events.
    pub others: u64,
}

const _: () = assert!(size_of::<Owner>() == 40);
const _: () = assert!(size_of::<OwnerSlot>() == 56);
const _: () = assert!(size_of::<PacketHeader>() == 136);
const _: () = assert!(size_of::<ProcessEvent>() == 56);
const _: () = assert!(size_of::<ConnectEvent>() == 88);
const _: () = assert!(size_of::<ServiceEvent>() == 72 + REQUEST_LEN);
const _: () = assert!(size_of::<Lost>() == 16);
const _: () = assert!(size_of::<PacketSlot<SMALL_PAYLOAD>>() == 136 + SMALL_PAYLOAD);
