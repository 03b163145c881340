//! What the kernel itself says about loaded BPF programs and links: the witness of what an agent left behind.

use crate::program::run;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Ids of programs and links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Programs.
    pub programs: BTreeSet<u64>,
    /// Links, each of which holds a program at a hook.
    pub links: BTreeSet<u64>,
}

impl Ids {
    /// Those that the process `pid` holds, read from its open descriptors. Other agents on the machine do not disturb.
    #[must_use]
    pub fn held_by(pid: u32) -> Self {
        let mut ids = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))
            .into_iter()
            .flatten()
            .flatten()
        {
            for line in fs::read_to_string(entry.path()).unwrap_or_default().lines() {
                let Some((key, value)) = line.split_once(':') else {
                    continue;
                };
                let Ok(id) = value.trim().parse() else {
                    continue;
                };
                match key {
                    "prog_id" => ids.programs.insert(id),
                    "link_id" => ids.links.insert(id),
                    _ => false,
                };
            }
        }
        ids
    }

    /// Those that are loaded on the machine now.
    #[must_use]
    pub fn loaded() -> Self {
        Self {
            programs: listed("prog"),
            links: listed("link"),
        }
    }

    /// Those that are in both.
    #[must_use]
    pub fn shared_with(&self, other: &Self) -> Self {
        Self {
            programs: &self.programs & &other.programs,
            links: &self.links & &other.links,
        }
    }

    /// There is neither a program nor a link.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.links.is_empty()
    }
}

/// How many programs are attached to a cgroup, by whatever means.
#[must_use]
pub fn attached_to(cgroup: &Path) -> usize {
    let path = cgroup.to_str().expect("a cgroup's path is text");
    bpftool(&["cgroup", "show", path])
        .as_array()
        .map_or(0, Vec::len)
}

/// The program of that name among those that an agent holds.
#[must_use]
pub fn program_named(held: &Ids, name: &str) -> u64 {
    let list = bpftool(&["prog", "list"]);
    let id = list.as_array().into_iter().flatten().find_map(|program| {
        let id = program["id"].as_u64()?;
        (program["name"] == name && held.programs.contains(&id)).then_some(id)
    });
    id.unwrap_or_else(|| panic!("no program {name} among {held:?}"))
}

/// Attaches a loaded program to a cgroup in such a way that nobody else may attach one to that hook there.
pub fn attach_exclusively(cgroup: &Path, hook: &str, program: u64) {
    let path = cgroup.to_str().expect("a cgroup's path is text");
    let id = program.to_string();
    run("bpftool", &["cgroup", "attach", path, hook, "id", &id]);
}

/// Takes such a program away again.
pub fn detach(cgroup: &Path, hook: &str, program: u64) {
    let path = cgroup.to_str().expect("a cgroup's path is text");
    let id = program.to_string();
    run("bpftool", &["cgroup", "detach", path, hook, "id", &id]);
}

fn listed(kind: &str) -> BTreeSet<u64> {
    let list = bpftool(&[kind, "list"]);
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["id"].as_u64())
        .collect()
}

fn bpftool(args: &[&str]) -> serde_json::Value {
    let output = Command::new("bpftool")
        .arg("-j")
        .args(args)
        .env("PATH", crate::need::PATH)
        .output()
        .unwrap_or_else(|error| panic!("cannot start bpftool: {error}"));
    // It says nothing at all, not even an empty list, when there is nothing.
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}
