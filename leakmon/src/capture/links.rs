//! The classifier on every network interface, for frames that programs inject through packet sockets.

use std::{fs, path::Path, thread};

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType,
    links::LinkOrder,
    tc::{TcAttachOptions, TcError},
};

use rustix::{
    net::{AddressFamily, SocketType, netdevice::name_to_index, socket},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::{machine, namespaces::Namespaces};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Inode of its network namespace.
    pub netns: u64,
    /// Its index there.
    pub index: u32,
    /// Its name there.
    pub name: String,
}

/// The network interfaces of these namespaces, as they are now.
pub fn interfaces(namespaces: &Namespaces) -> Vec<Interface> {
    let list = |netns| {
        // Of this thread: the rest of the process may be in another namespace.
        let names = interface_names(Path::new("/proc/thread-self/net/dev"));
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
        let interfaces = names.into_iter().filter_map(|name| {
            let index = name_to_index(&socket, &name).ok()?;
            Some(Interface { netns, index, name })
        });
        Some(interfaces.collect::<Vec<_>>())
    };
    namespaces
        .found
        .iter()
        .filter_map(|namespace| namespace.run(|| list(namespace.inode)).ok()?)
        .flatten()
        .collect()
}

/// Puts the classifier on every interface of every network namespace, by links alone: what netlink attaches would stay
/// when the agent is killed. Returns how many interfaces could not be had, with the first reason.
///
/// Interfaces that appear later are not covered.
pub fn attach(
    program: &mut SchedClassifier,
    namespaces: &Namespaces,
    interfaces: &[Interface],
) -> (usize, Option<String>) {
    let (mut refused, mut reason) = (0, None);
    let mut note = |error: String| {
        refused += 1;
        reason.get_or_insert(error);
    };
    for namespace in &namespaces.found {
        let failures = namespace.run(|| {
            interfaces
                .iter()
                .filter(|interface| interface.netns == namespace.inode)
                .filter_map(|interface| attach_to(program, &interface.name).err())
                .collect::<Vec<String>>()
        });
        match failures {
            Ok(failures) => failures.into_iter().for_each(&mut note),
            Err(error) => note(machine::plain(&error)),
        }
    }
    (refused, reason)
}

/// Attaches the classifier to the loopback interface of a network namespace that is made for it and goes with it.
///
/// # Errors
/// What the kernel said, in words.
pub fn try_on_nothing(program: &mut SchedClassifier) -> Result<(), String> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                // SAFETY: this thread alone gets a network namespace of its own; no descriptor is unshared, and it ends
                // soon.
                unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                    .map_err(|error| machine::plain(&error.into()))?;
                attach_to(program, "lo")
            })
            .join()
            .unwrap_or_else(|_| Err("the thread that attaches it ended".to_owned()))
    })
}

fn attach_to(program: &mut SchedClassifier, name: &str) -> Result<(), String> {
    let by_link = TcAttachOptions::TcxOrder(LinkOrder::default());
    match program.attach_with_options(name, TcAttachType::Egress, by_link) {
        Ok(_) => Ok(()),
        // Gone since it was listed.
        Err(ProgramError::TcError(TcError::IoError(_))) => Ok(()),
        Err(error) => Err(super::kernel::describe(&error)),
    }
}

/// Names in the table of network devices (proc_pid_net(5)): two lines of headings, then a name before a colon each.
fn interface_names(table: &Path) -> Vec<String> {
    fs::read_to_string(table)
        .unwrap_or_default()
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .collect()
}
