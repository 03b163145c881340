//! Loads the kernel programs, attaches them, and reads what they send.

use std::{fs::File, io, os::fd::AsFd, path::PathBuf};

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, CgroupSockAddr, Program,
        ProgramError,
    },
};
use leakmon_common::{
    Lost, OwnerSlot, PORT_WORDS, PROXY_VARIABLES, SENDER_BY_PID, SENDER_BY_TASK, SENDER_IS_OWNER,
    SOCKET_PATH_LEN,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    CaptureError, Event, Record,
    decode::decode,
    links::{self, Interface},
    machine,
    namespaces::{self, Namespaces},
    seed, services, tracefs,
};
use crate::time::{BootClock, Timestamp, boot_ns};

#[cfg(not(feature = "ebpf-log"))]
static OBJECT: &[u8] = include_bytes_aligned!("../../../leakmon-ebpf/leakmon.bpf.o");
#[cfg(feature = "ebpf-log")]
static OBJECT: &[u8] = include_bytes_aligned!("../../../target/ebpf-log/leakmon.bpf.o");

/// The programs of the object: name, and the hook as the kernel calls it.
pub const HOOKS: [(&str, &str); 16] = [
    ("exec", "sched_process_exec"),
    ("exit", "sched_process_exit"),
    ("sock_create", "cgroup/sock_create"),
    ("sock_release", "cgroup/sock_release"),
    ("connect4", "cgroup/connect4"),
    ("connect6", "cgroup/connect6"),
    ("sendmsg4", "cgroup/sendmsg4"),
    ("sendmsg6", "cgroup/sendmsg6"),
    ("ingress", "cgroup_skb/ingress"),
    ("egress", "cgroup_skb/egress"),
    (INTERFACE, "tcx/egress"),
    (ARGUMENTS, "sched_process_exec, stack"),
    ("newtask", "task_newtask"),
    ("service_connect", "sys_enter_connect"),
    ("service_sendto", "sys_enter_sendto"),
    ("service_sendmsg", "sys_enter_sendmsg"),
];

/// The hooks without which queries and their senders are not seen; the others leave a [`Degradation`].
const NEEDED_HOOKS: usize = 10;
/// The last hooks see what services are asked over Unix sockets.
const SERVICE_HOOKS: usize = 3;

/// The program that is attached to interfaces instead of the cgroup.
const INTERFACE: &str = "interface";
/// The program that takes what a program is started with.
const ARGUMENTS: &str = "arguments";

/// Offset of the stack pointer in a task's saved registers: `struct pt_regs` of arch/x86 and `struct user_pt_regs` of
/// arch/arm64 (include/uapi/asm/ptrace.h).
const STACK_POINTER: u32 = if cfg!(target_arch = "aarch64") {
    248
} else {
    152
};

/// Something that this kernel or this place does not offer, and leakmon works without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Degradation {
    /// Packet sockets cannot be watched everywhere.
    #[error(
        "frames sent through packet sockets are not seen on {interfaces} network interfaces: {reason} (Linux 6.6 or newer is needed)"
    )]
    PacketSockets {
        /// On how many interfaces.
        interfaces: usize,
        /// What the kernel said first.
        reason: String,
    },
    /// What programs are started with cannot be taken.
    #[error("the path and arguments of a program that is gone at once may not be known: {reason}")]
    Arguments {
        /// What the kernel said.
        reason: String,
    },
    /// Copies of processes are not told.
    #[error("a copy of a process that is gone at once may not be known: {reason}")]
    Forks {
        /// What the kernel said.
        reason: String,
    },
    /// What services are asked over Unix sockets is not seen.
    #[error(
        "names asked of systemd-resolved or nscd over their own sockets are not seen: {reason}"
    )]
    Services {
        /// What the kernel said.
        reason: String,
    },
    /// A packet hook cannot tell who is running.
    #[error(
        "a socket that was inherited or passed on counts as that of the process that connected it: this kernel cannot tell senders"
    )]
    Senders,
    /// The owners of some older sockets are not known.
    #[error(
        "sockets older than leakmon may have no known owner until they are used again ({})",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    OlderSockets(Vec<seed::SeedError>),
}

/// Bytes of the ring buffer when nothing is to be captured.
const LEAST_RING: u32 = 256 * 1024;

/// What to watch.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cgroup whose processes are watched, with all below it.
    pub cgroup: PathBuf,
    /// Ports on which DNS is spoken.
    pub ports: Vec<u16>,
    /// Size of the ring buffer in bytes: a power of two of at least one page. The smallest record takes about 400.
    pub ring_bytes: u32,
}

/// The attached kernel programs. They leave the kernel when this is dropped, or when the process ends in any way.
pub struct Kernel {
    /// Owns the links: dropping it detaches everything.
    _programs: Ebpf,
    degradations: Vec<Degradation>,
    interfaces: Vec<Interface>,
    ports: Array<MapData, u64>,
    events: AsyncFd<RingBuf<MapData>>,
    lost: PerCpuArray<MapData, LostCount>,
    lost_before: Lost,
    none_lost_until: Timestamp,
    clock: BootClock,
    /// The buffer was read to its end: the next record makes it readable again.
    emptied: bool,
    #[cfg(feature = "ebpf-log")]
    _log: Option<tokio::task::JoinHandle<()>>,
}

/// [`Lost`] as aya reads it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct LostCount(Lost);

// SAFETY: `Lost` is repr(C) and made of two u64: any bytes are a value of it.
unsafe impl aya::Pod for LostCount {}

impl Kernel {
    /// Loads and attaches the programs.
    ///
    /// # Errors
    /// When the kernel is too old, a privilege is missing, or the kernel refuses a program.
    pub fn attach(options: &Options) -> Result<Self, CaptureError> {
        machine::check_cgroup(&options.cgroup)?;
        let (mut programs, sender) = load(options.ring_bytes, machine::cgroup_id(&options.cgroup))?;
        tracing::debug!("senders are told by method {sender}");
        let cgroup = File::open(&options.cgroup).map_err(|error| CaptureError::Cgroup {
            path: options.cgroup.clone(),
            reason: machine::plain(&error),
        })?;
        let mut ports: Array<_, u64> = map(&mut programs, "DNS_PORTS")?;
        for (index, word) in (0..PORT_WORDS).zip(port_bitmap(&options.ports)) {
            ports.set(index, word, 0).map_err(load_error)?;
        }
        let mut variables: HashMap<_, [u8; 8], u8> = map(&mut programs, "VARIABLES")?;
        for begins in PROXY_VARIABLES {
            variables.insert(begins, 0, 0).map_err(load_error)?;
        }
        let ring = map(&mut programs, "EVENTS")?;
        // SAFETY: the ring buffer owns its map's file descriptor, and is neither replaced nor taken out.
        let events = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(io::Error::from)?;
        let lost = map(&mut programs, "LOST")?;
        let mut degradations = Vec::new();
        degradations.extend(watch_arguments(&mut programs));
        // Processes and owners come first and egress last, so that no query is seen before its owner could be.
        for (name, hook) in &HOOKS[..NEEDED_HOOKS] {
            attach_one(&mut programs, name, hook, &cgroup).map_err(|error| refused(hook, error))?;
        }
        if sender == SENDER_IS_OWNER {
            degradations.push(Degradation::Senders);
        }
        let namespaces = namespaces::all()?;
        let interfaces = links::interfaces(&namespaces);
        degradations.extend(watch_interfaces(&mut programs, &namespaces, &interfaces));
        degradations.extend(watch_forks(&mut programs));
        // Every system call of the machine pays for these, so they are for machines with such a service alone.
        if services::are_there(&namespaces) {
            degradations.extend(watch_services(&mut programs)?);
        }
        // After the hooks: a socket made in between has its owner from them, and keeps it.
        degradations.extend(seed_owners(&mut programs, &namespaces)?);
        let clock = BootClock::now();
        Ok(Self {
            #[cfg(feature = "ebpf-log")]
            _log: start_log(&mut programs),
            _programs: programs,
            degradations,
            interfaces,
            ports,
            events,
            lost,
            lost_before: Lost::default(),
            none_lost_until: clock.wall(boot_ns()),
            clock,
            emptied: true,
        })
    }

    /// Takes a port for DNS too, from now on.
    ///
    /// # Errors
    /// When the kernel cannot be told.
    pub fn watch_port(&mut self, port: u16) -> Result<(), CaptureError> {
        let index = u32::from(port >> 6);
        let word = self.ports.get(&index, 0).map_err(load_error)?;
        let with = word | 1 << (port & 63);
        if with != word {
            tracing::debug!("a resolver of this machine listens on port {port}");
            self.ports.set(index, with, 0).map_err(load_error)?;
        }
        Ok(())
    }

    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// When the ring buffer's file descriptor fails.
    pub async fn readable(&mut self) -> Result<(), CaptureError> {
        if !self.emptied {
            return Ok(());
        }
        self.events.readable().await?.clear_ready();
        Ok(())
    }

    /// Hands over up to `limit` waiting records; true when the buffer was emptied.
    pub fn drain(&mut self, limit: usize, mut take: impl FnMut(Record)) -> bool {
        let ring = self.events.get_mut();
        self.emptied = false;
        for _ in 0..limit {
            let Some(record) = ring.next() else {
                self.emptied = true;
                break;
            };
            match decode(&record, &self.clock) {
                Some(record) => take(record),
                None => tracing::error!("a record of the kernel programs could not be read"),
            }
        }
        self.emptied
    }

    /// What was lost since this was asked last.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn losses(&mut self) -> Result<Option<Event>, CaptureError> {
        let counters = self.lost.get(&0, 0).map_err(load_error)?;
        let mut total = Lost::default();
        for count in counters.iter() {
            total.queries += count.0.queries;
            total.others += count.0.others;
        }
        let at = self.clock.wall(boot_ns());
        let queries = total.queries - self.lost_before.queries;
        let events = queries + total.others - self.lost_before.others;
        let since = self.none_lost_until;
        self.none_lost_until = at;
        self.lost_before = total;
        Ok((events > 0).then_some(Event::Loss {
            at,
            events,
            queries,
            since,
        }))
    }

    /// The time now, on the clock that events carry.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.wall(boot_ns())
    }

    /// What leakmon works without here.
    #[must_use]
    pub fn degradations(&self) -> &[Degradation] {
        &self.degradations
    }

    /// The machine's network interfaces when the capture began.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The clock that events carry.
    #[must_use]
    pub fn clock(&self) -> BootClock {
        self.clock
    }
}

/// Puts the classifier on the machine's interfaces.
fn watch_interfaces(
    programs: &mut Ebpf,
    namespaces: &Namespaces,
    interfaces: &[Interface],
) -> Option<Degradation> {
    let loaded = load_one(programs, INTERFACE).map_err(|error| describe(&error));
    let (interfaces, reason) = match (loaded, programs.program_mut(INTERFACE)) {
        (Ok(()), Some(Program::SchedClassifier(program))) => {
            links::attach(program, namespaces, interfaces)
        }
        (Err(reason), _) => (interfaces.len(), Some(reason)),
        _ => (interfaces.len(), Some("no such program".to_owned())),
    };
    reason.map(|reason| Degradation::PacketSockets { interfaces, reason })
}

/// Has what a program is started with told before the news that it runs.
fn watch_arguments(programs: &mut Ebpf) -> Option<Degradation> {
    let attached =
        load_one(programs, ARGUMENTS).and_then(|()| match programs.program_mut(ARGUMENTS) {
            Some(Program::RawTracePoint(program)) => program.attach("sched_process_exec").map(drop),
            _ => Err(ProgramError::UnexpectedProgramType),
        });
    attached.err().map(|error| Degradation::Arguments {
        reason: describe(&error),
    })
}

/// Has every copy of a process told when it is made.
fn watch_forks(programs: &mut Ebpf) -> Option<Degradation> {
    let attached = load_one(programs, "newtask")
        .map_err(|error| describe(&error))
        .and_then(|()| match programs.program_mut("newtask") {
            Some(Program::TracePoint(program)) => tracefs::attach(program, "task_newtask"),
            _ => Err("no such program".to_owned()),
        });
    attached.err().map(|reason| Degradation::Forks { reason })
}

/// Has told what services are asked over Unix sockets.
fn watch_services(programs: &mut Ebpf) -> Result<Option<Degradation>, CaptureError> {
    let mut paths: HashMap<_, [u8; SOCKET_PATH_LEN], u32> = map(programs, "SERVICE_PATHS")?;
    for (path, service) in services::keys() {
        paths.insert(path, service, 0).map_err(load_error)?;
    }
    let mut attach = |name: &str, hook: &str| {
        load_one(programs, name).map_err(|error| describe(&error))?;
        match programs.program_mut(name) {
            Some(Program::TracePoint(program)) => tracefs::attach(program, hook),
            _ => Err("no such program".to_owned()),
        }
    };
    // Where a socket leads to has to be known before what is sent there.
    let refused = HOOKS[HOOKS.len() - SERVICE_HOOKS..]
        .iter()
        .find_map(|(name, hook)| attach(name, hook).err());
    Ok(refused.map(|reason| Degradation::Services { reason }))
}

/// Tells the kernel programs whose the sockets are that were open before.
fn seed_owners(
    programs: &mut Ebpf,
    namespaces: &Namespaces,
) -> Result<Option<Degradation>, CaptureError> {
    /// `BPF_NOEXIST` (include/uapi/linux/bpf.h): what the hooks have learnt meanwhile is newer.
    const ONLY_NEW: u64 = 1;
    let mut owners: HashMap<_, u64, SeededOwner> = map(programs, "OWNERS")?;
    let seed = seed::open_sockets(namespaces);
    for (cookie, owner) in seed.owners.into_iter().chain(seed.packet_owners) {
        let slot = OwnerSlot {
            key: cookie,
            task: 0,
            owner,
        };
        if let Err(error) = owners.insert(cookie, SeededOwner(slot), ONLY_NEW) {
            tracing::debug!("an older socket keeps its owner: {error}");
        }
    }
    Ok((!seed.gaps.is_empty()).then_some(Degradation::OlderSockets(seed.gaps)))
}

/// [`OwnerSlot`] as aya writes it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct SeededOwner(OwnerSlot);

// SAFETY: `OwnerSlot` is repr(C), without padding, and made of integers: any bytes are a value of it.
unsafe impl aya::Pod for SeededOwner {}

/// A hook, and whether the kernel takes its program.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The hook.
    pub hook: &'static str,
    /// leakmon cannot watch without it.
    pub needed: bool,
    /// What the kernel said.
    pub result: Result<(), String>,
}

/// What the kernel says to each program, and how it can tell senders. Nothing that others use is attached to.
///
/// # Errors
/// When nothing can be loaded at all.
pub fn try_hooks() -> Result<(Vec<Trial>, Option<Degradation>), CaptureError> {
    let (mut programs, sender) = load(LEAST_RING, None)?;
    let trials = HOOKS
        .iter()
        .enumerate()
        .map(|(index, &(name, hook))| {
            let loaded = load_one(&mut programs, name).map_err(|error| describe(&error));
            // Loading says little of these two: the one takes a link to an interface, the other tracefs.
            let result = loaded.and_then(|()| match programs.program_mut(name) {
                Some(Program::SchedClassifier(program)) => links::try_on_nothing(program),
                Some(Program::TracePoint(program)) => tracefs::attach(program, hook),
                _ => Ok(()),
            });
            Trial {
                hook,
                needed: index < NEEDED_HOOKS,
                result,
            }
        })
        .collect();
    let senders = (sender == SENDER_IS_OWNER).then_some(Degradation::Senders);
    Ok((trials, senders))
}

/// The programs, and how they tell senders.
fn load(ring_bytes: u32, cgroup: Option<(u64, u32)>) -> Result<(Ebpf, u32), CaptureError> {
    let release = machine::kernel_release();
    if machine::kernel_version(&release).is_none_or(|version| version < machine::OLDEST_KERNEL) {
        return Err(CaptureError::KernelTooOld { found: release });
    }
    let missing = crate::privilege::missing();
    if !missing.is_empty() {
        return Err(CaptureError::Privilege { missing });
    }
    // The best way of telling senders that this kernel takes: what it takes is tried, not guessed from its version.
    for sender in [SENDER_BY_PID, SENDER_BY_TASK] {
        let mut programs = load_object(sender, ring_bytes, cgroup)?;
        if load_one(&mut programs, "egress").is_ok() {
            return Ok((programs, sender));
        }
    }
    Ok((
        load_object(SENDER_IS_OWNER, ring_bytes, cgroup)?,
        SENDER_IS_OWNER,
    ))
}

fn load_object(
    sender: u32,
    ring_bytes: u32,
    cgroup: Option<(u64, u32)>,
) -> Result<Ebpf, CaptureError> {
    let (id, level) = cgroup.unwrap_or_default();
    EbpfLoader::new()
        .override_global("CGROUP_ID", &id, true)
        .override_global("CGROUP_LEVEL", &level, true)
        .map_max_entries("EVENTS", ring_bytes)
        .override_global("SENDER", &sender, true)
        .override_global("STACK_POINTER", &STACK_POINTER, true)
        .load(OBJECT)
        .map_err(load_error)
}

fn map<M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(
    programs: &mut Ebpf,
    name: &'static str,
) -> Result<M, CaptureError> {
    let map = programs.take_map(name).ok_or_else(|| CaptureError::Load {
        reason: format!("the embedded object has no map {name}"),
    })?;
    M::try_from(map).map_err(load_error)
}

fn load_one(programs: &mut Ebpf, name: &str) -> Result<(), ProgramError> {
    let loaded = match programs.program_mut(name) {
        Some(Program::CgroupSkb(program)) => program.load(),
        Some(Program::CgroupSock(program)) => program.load(),
        Some(Program::CgroupSockAddr(program)) => program.load(),
        Some(Program::RawTracePoint(program)) => program.load(),
        Some(Program::SchedClassifier(program)) => program.load(),
        Some(Program::TracePoint(program)) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    match loaded {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        other => other,
    }
}

fn attach_one(
    programs: &mut Ebpf,
    name: &str,
    hook: &str,
    cgroup: &File,
) -> Result<(), ProgramError> {
    load_one(programs, name)?;
    // A link takes no flags, and is one among many all the same (kernel/bpf/cgroup.c).
    let mode = CgroupAttachMode::Single;
    let cgroup = cgroup.as_fd();
    let program = programs
        .program_mut(name)
        .ok_or(ProgramError::UnexpectedProgramType)?;
    match program {
        Program::CgroupSkb(program) => {
            let program: &mut CgroupSkb = program;
            let direction = if name == "ingress" {
                CgroupSkbAttachType::Ingress
            } else {
                CgroupSkbAttachType::Egress
            };
            program.attach(cgroup, direction, mode).map(drop)
        }
        Program::CgroupSock(program) => {
            let program: &mut CgroupSock = program;
            program.attach(cgroup, mode).map(drop)
        }
        Program::CgroupSockAddr(program) => {
            let program: &mut CgroupSockAddr = program;
            program.attach(cgroup, mode).map(drop)
        }
        Program::RawTracePoint(program) => program.attach(hook).map(drop),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn refused(hook: &'static str, error: ProgramError) -> CaptureError {
    if let ProgramError::LoadError { verifier_log, .. } = &error {
        tracing::debug!("{hook}: {verifier_log}");
    }
    CaptureError::Hook {
        hook,
        reason: describe(&error),
    }
}

/// The kernel's answer without the verifier's log, which can be thousands of lines.
pub(super) fn describe(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, .. } => machine::plain(io_error),
        ProgramError::SyscallError(error) => machine::plain(&error.io_error),
        other => other.to_string(),
    }
}

fn load_error(error: impl std::error::Error) -> CaptureError {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !reason.contains(&cause_text) {
            reason = format!("{reason}: {cause_text}");
        }
        source = cause.source();
    }
    // One line, whatever a library's error holds.
    CaptureError::Load {
        reason: reason.lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(feature = "ebpf-log")]
fn start_log(programs: &mut Ebpf) -> Option<tokio::task::JoinHandle<()>> {
    let logger = aya_log::EbpfLogger::init(programs)
        .inspect_err(|error| tracing::warn!("no log of the kernel programs: {error}"))
        .ok()?;
    // SAFETY: the logger owns its ring buffer's file descriptor, and is neither replaced nor taken out.
    let mut logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }.ok()?;
    Some(tokio::spawn(async move {
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    }))
}

/// The bitmap of [`leakmon_common::PORT_WORDS`] words with one bit for each port.
fn port_bitmap(ports: &[u16]) -> Vec<u64> {
    let mut words = vec![0_u64; PORT_WORDS as usize];
    for &port in ports {
        words[usize::from(port >> 6)] |= 1 << (port & 63);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_bits() {
        let words = port_bitmap(&[53, 65_535, 0]);
        assert_eq!(words[0], 1 << 53 | 1);
        assert_eq!(words[1023], 1 << 63);
        assert_eq!(words.iter().map(|word| word.count_ones()).sum::<u32>(), 3);
    }
}
