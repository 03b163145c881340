//! A network namespace with a name, and its own few files of /etc.
//!
//! `ip netns exec NAME` binds the files of /etc/netns/NAME over those of /etc in a mount namespace of its own, so the
//! machine's own resolver settings are never touched.

use crate::program::run;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The interface between the client and the server, called the same on both sides.
pub const INTERFACE: &str = "lab0";

/// A network namespace, removed with its owner.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    etc: PathBuf,
}

impl Namespace {
    /// Makes a namespace whose loopback is up, with `files` (name and text) as its own in /etc.
    #[must_use]
    pub fn create(name: &str, files: &[(&str, &str)]) -> Self {
        let namespace = Self {
            name: name.to_owned(),
            etc: PathBuf::from("/etc/netns").join(name),
        };
        fs::create_dir_all(&namespace.etc).expect("a folder can be made in /etc/netns");
        for (file, text) in files {
            fs::write(namespace.etc.join(file), text).expect("a file can be written in /etc/netns");
        }
        run("ip", &["netns", "add", name]);
        run("ip", &["-n", name, "link", "set", "lo", "up"]);
        namespace
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts a file into a folder of /etc for the programs that are started in it from now on. The folder has to exist on the
    /// machine, and is hidden from them with all that it holds.
    pub fn write_below_etc(&self, path: &str, text: &str) {
        let path = self.etc.join(path);
        let folder = path.parent().expect("a file in a folder");
        fs::create_dir_all(folder).expect("a folder can be made in /etc/netns");
        fs::write(path, text).expect("a file can be written in /etc/netns");
    }

    /// Gives its end of the pair the addresses, and brings it up. Duplicate address detection would leave the IPv6
    /// addresses unusable for a second or two.
    pub fn configure(&self, addresses: &[String]) {
        for address in addresses {
            let mut args = vec!["-n", &self.name, "addr", "add", address, "dev", INTERFACE];
            if address.contains(':') {
                args.push("nodad");
            }
            run("ip", &args);
        }
        run("ip", &["-n", &self.name, "link", "set", INTERFACE, "up"]);
    }

    /// Makes an address of the subnet, which nobody has, one that packets leave for and never come back from. Without
    /// this the kernel would look for its network card, and send nothing.
    pub fn black_hole(&self, address: &str) {
        let nobody = "02:00:00:00:00:99";
        let to = ["neigh", "replace", address, "lladdr", nobody];
        let at = ["dev", INTERFACE, "nud", "permanent"];
        run("ip", &[&["-n", &self.name], &to[..], &at].concat());
    }

    /// The address of its network card.
    #[must_use]
    pub fn hardware_address(&self) -> String {
        let path = format!("/sys/class/net/{INTERFACE}/address");
        let output = std::process::Command::new("ip")
            .env("PATH", crate::need::PATH)
            .args(["netns", "exec", &self.name, "cat", &path])
            .output()
            .expect("ip can be started");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Its inode: what the kernel knows it by.
    #[must_use]
    pub fn inode(&self) -> u64 {
        fs::metadata(PathBuf::from("/run/netns").join(&self.name))
            .expect("it has a name in /run/netns")
            .ino()
    }
}

/// Joins two namespaces by a pair of interfaces. Both are made where they belong: no name is taken on the machine.
pub fn join(one: &Namespace, other: &Namespace) {
    run(
        "ip",
        &[
            "link",
            "add",
            INTERFACE,
            "netns",
            &one.name,
            "type",
            "veth",
            "peer",
            "name",
            INTERFACE,
            "netns",
            &other.name,
        ],
    );
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if PathBuf::from("/run/netns").join(&self.name).exists() {
            let gone = std::process::Command::new("ip")
                .args(["netns", "del", &self.name])
                .output();
            if !gone.is_ok_and(|output| output.status.success()) {
                eprintln!("lab: cannot remove the network namespace {}", self.name);
            }
        }
        let _ = fs::remove_dir_all(&self.etc);
    }
}
