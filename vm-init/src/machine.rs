//! What a distribution does before programs run: file systems, modules, addresses; and the end of the machine.

use std::fmt::Display;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use leakmon_lab::program;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};

/// Where the image has the kernel's modules, in files named for the order in which they are loaded.
const MODULES: &str = "/modules";

/// Type and place.
const FILE_SYSTEMS: [(&str, &str); 6] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tracefs", "/sys/kernel/tracing"),
    ("tmpfs", "/tmp"),
];

/// The address of the web server: one that no program treats as the machine's own.
pub const PAGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 80);
/// A machine with no IPv6 address but the loopback's is taken for one without IPv6: `getaddrinfo` asks for no AAAA then.
const OWN_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x80);

/// Mounts, loads, and brings the loopback interface up; there is no other.
pub fn set_up() -> Result<(), String> {
    for (kind, place) in FILE_SYSTEMS {
        fs::create_dir_all(place).map_err(|error| failed("make", place, error))?;
        mount(kind, place, kind, MountFlags::empty(), None)
            .map_err(|error| failed("mount", place, error))?;
    }
    load_modules()?;
    program::run("ip", &["link", "set", "lo", "up"]);
    for address in [PAGE_ADDRESS.to_string(), OWN_IPV6.to_string()] {
        program::run("ip", &["address", "add", &address, "dev", "lo"]);
    }
    Ok(())
}

/// Nobody loads modules on demand here, as modprobe would.
fn load_modules() -> Result<(), String> {
    let folder = fs::read_dir(MODULES).map_err(|error| failed("read", MODULES, error))?;
    let mut files: Vec<_> = folder
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    for path in files {
        let name = path.display();
        let file = File::open(&path).map_err(|error| failed("open", &name, error))?;
        finit_module(file, c"", 0).map_err(|error| failed("load", name, error))?;
    }
    Ok(())
}

/// Major and minor version of the kernel.
pub fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether the kernel found fault with itself, or somebody with it (Documentation/admin-guide/tainted-kernels.rst).
pub fn is_untainted() -> Result<(), String> {
    let path = Path::new("/proc/sys/kernel/tainted");
    let tainted =
        fs::read_to_string(path).map_err(|error| failed("read", path.display(), error))?;
    match tainted.trim() {
        "0" => Ok(()),
        flags => Err(format!("{} says {flags}", path.display())),
    }
}

/// Turns the machine off.
pub fn power_off() -> ! {
    let error = reboot(RebootCommand::PowerOff);
    // The end of the first process stops the machine too, by a kernel panic.
    panic!("the machine cannot be turned off: {error:?}");
}

fn failed(what: &str, place: impl Display, error: impl Display) -> String {
    format!("cannot {what} {place}: {error}")
}
