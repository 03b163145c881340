//! The services of this machine that look up names for others over Unix sockets.

use std::{fs, path::Path};

use leakmon_common::{SERVICE_NSCD, SERVICE_RESOLVED, SOCKET_PATH_LEN};

use super::namespaces::Namespaces;
use crate::model::Service;

/// Where they listen, as their clients write it: systemd's src/libsystemd/sd-varlink and src/nss-resolve, glibc's
/// nscd/nscd-client.h. /var/run is a link to /run.
pub const PATHS: [(&str, Service); 4] = [
    ("/run/systemd/resolve/io.systemd.Resolve", Service::Resolved),
    (
        "/var/run/systemd/resolve/io.systemd.Resolve",
        Service::Resolved,
    ),
    ("/var/run/nscd/socket", Service::Nscd),
    ("/run/nscd/socket", Service::Nscd),
];

/// The number by which the kernel programs call a service.
pub const fn number(service: Service) -> u32 {
    match service {
        Service::Resolved => SERVICE_RESOLVED,
        Service::Nscd => SERVICE_NSCD,
    }
}

/// The paths as the kernel programs compare them, with the numbers of their services.
pub fn keys() -> impl Iterator<Item = ([u8; SOCKET_PATH_LEN], u32)> {
    PATHS.iter().map(|(path, service)| {
        let mut key = [0; SOCKET_PATH_LEN];
        key[..path.len()].copy_from_slice(path.as_bytes());
        (key, number(*service))
    })
}

/// Whether one of them listens in one of these namespaces: a Unix socket belongs to the network namespace that it was made
/// in (unix_seq_show, net/unix/af_unix.c).
pub fn are_there(namespaces: &Namespaces) -> bool {
    namespaces.found.iter().any(|namespace| {
        namespace
            .run(|| {
                // Of this thread: the rest of the process may be in another namespace.
                fs::read_to_string(Path::new("/proc/thread-self/net/unix"))
                    .is_ok_and(|table| lists_one(&table))
            })
            .unwrap_or(false)
    })
}

fn lists_one(table: &str) -> bool {
    table.lines().any(|line| {
        line.split_whitespace()
            .next_back()
            .is_some_and(|path| PATHS.iter().any(|(known, _)| *known == path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_by_its_path() {
        let head = "Num       RefCount Protocol Flags    Type St Inode Path\n";
        let line = |path: &str| {
            format!("{head}ffff8881: 00000002 00000000 00010000 0001 01 12345 {path}\n")
        };
        assert!(lists_one(&line("/run/systemd/resolve/io.systemd.Resolve")));
        assert!(lists_one(&line("/var/run/nscd/socket")));
        assert!(!lists_one(&line("/run/systemd/private")));
        assert!(!lists_one(head));
    }

    #[test]
    fn paths_fit_with_the_zero_that_ends_them() {
        for (key, _) in keys() {
            assert_eq!(key[SOCKET_PATH_LEN - 1], 0);
        }
    }
}
