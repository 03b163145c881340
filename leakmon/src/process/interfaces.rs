//! Names of network interfaces, in the network namespace of the process that used them.

use std::{fs, num::NonZeroUsize};

use lru::LruCache;

const MAX_NAMES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Looks up interface names by index; indexes are unique only within a network namespace.
#[derive(Debug)]
pub struct Interfaces {
    names: LruCache<(u64, u32), Option<String>>,
}

impl Default for Interfaces {
    fn default() -> Self {
        Self {
            names: LruCache::new(MAX_NAMES),
        }
    }
}

impl Interfaces {
    /// An interface that is known from elsewhere.
    pub fn insert(&mut self, netns: u64, index: u32, name: &str) {
        self.names.put((netns, index), Some(name.to_owned()));
    }

    /// The name of an interface in the namespace `netns` of process `pid`.
    pub fn name(&mut self, netns: u64, pid: u32, index: u32) -> Option<String> {
        // A process that is gone leaves nothing to read: the next one may.
        if self.names.peek(&(netns, index)) == Some(&None) {
            self.names.pop(&(netns, index));
        }
        self.names
            .get_or_insert((netns, index), || {
                // Neither file has every interface: one lists those with IPv4, the other those with IPv6 addresses.
                let read = |file| fs::read_to_string(format!("/proc/{pid}/net/{file}"));
                read("igmp")
                    .ok()
                    .and_then(|text| in_igmp(&text, index))
                    .or_else(|| {
                        read("if_inet6")
                            .ok()
                            .and_then(|text| in_if_inet6(&text, index))
                    })
            })
            .clone()
    }
}

/// Lines that begin with an index name an interface (net/ipv4/igmp.c).
fn in_igmp(text: &str, index: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let (number, rest) = line.split_once('\t')?;
        (number.parse() == Ok(index))
            .then(|| rest.split([' ', ':']).next())?
            .map(str::to_owned)
    })
}

/// Address, index, prefix length, scope, flags, name; numbers in hexadecimal (net/ipv6/addrconf.c).
fn in_if_inet6(text: &str, index: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.len() == 6 && u32::from_str_radix(fields[1], 16) == Ok(index))
            .then(|| fields[5].to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files() {
        let igmp = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
            1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
            12\teth0      :     1      V3\n";
        assert_eq!(in_igmp(igmp, 12).as_deref(), Some("eth0"));
        assert_eq!(in_igmp(igmp, 2), None);
        let six = "fe800000000000000000000000000001 0c 40 20 80     eth0\n";
        assert_eq!(in_if_inet6(six, 12).as_deref(), Some("eth0"));
        assert_eq!(in_if_inet6("garbage", 12), None);
    }
}
