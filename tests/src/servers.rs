//! What the lab's servers have in common: one is there when it listens, and that is read from the kernel's own tables,
//! since a test connection would be traffic of its own.

use crate::program::Program;
use crate::{LIMIT, wait};
use std::fs;
use std::path::{Path, PathBuf};

/// What tells that a server is there.
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// A TCP socket that listens on this port.
    Tcp(u16),
    /// A UDP socket on this port.
    Udp(u16),
    /// A UNIX socket that listens under this path.
    Unix(&'static str),
}

impl Sign {
    fn is_in(self, tables: &Path) -> bool {
        let has = |table: &str, is_it: &dyn Fn(&str) -> bool| {
            fs::read_to_string(tables.join(table)).is_ok_and(|table| table.lines().any(is_it))
        };
        match self {
            Self::Tcp(port) => ["tcp", "tcp6"]
                .iter()
                .any(|table| has(table, &|line| is_listening(line, port))),
            Self::Udp(port) => ["udp", "udp6"]
                .iter()
                .any(|table| has(table, &|line| is_on_port(line, port))),
            Self::Unix(path) => has("unix", &|line| is_listening_at(line, path)),
        }
    }
}

/// Waits until a TCP socket listens on `port` in the network namespace of `program`.
pub fn wait_listening(program: &mut Program, port: u16) {
    wait_for(program, Sign::Tcp(port));
}

/// Waits until there is such a socket in the network namespace of `program`.
pub fn wait_for(program: &mut Program, sign: Sign) {
    let tables = PathBuf::from(format!("/proc/{}/net", program.pid()));
    let listens = wait::until(LIMIT, || {
        if let Some(status) = program.try_wait() {
            return Some(Err(status));
        }
        sign.is_in(&tables).then_some(Ok(()))
    });
    match listens {
        Some(Ok(())) => {}
        Some(Err(status)) => panic!(
            "a server of the lab ended with {status}\n{}",
            program.said()
        ),
        None => panic!("no {sign:?} after {LIMIT:?}\n{}", program.said()),
    }
}

/// A line of /proc/net/tcp: `sl local_address rem_address st …`, where state 0A is LISTEN and the port is hexadecimal.
fn is_listening(line: &str, port: u16) -> bool {
    is_on_port(line, port) && line.split_whitespace().nth(3) == Some("0A")
}

/// A line of /proc/net/udp, which has the same form.
fn is_on_port(line: &str, port: u16) -> bool {
    let address = line.split_whitespace().nth(1);
    address.is_some_and(|address| address.ends_with(&format!(":{port:04X}")))
}

/// A line of /proc/net/unix: `Num RefCount Protocol Flags Type St Inode Path`, where the flag is `__SO_ACCEPTCON`
/// (include/uapi/linux/net.h).
fn is_listening_at(line: &str, path: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    fields.get(3) == Some(&"00010000") && fields.get(7) == Some(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_known_by_state_and_port() {
        let line = "   0: 0100007F:235A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1";
        assert!(is_listening(line, 9050));
        assert!(!is_listening(line, 80));
        assert!(!is_listening(&line.replace(" 0A ", " 01 "), 9050));
        assert!(!is_listening("  sl  local_address rem_address   st", 9050));
    }

    #[test]
    fn a_unix_socket_is_known_by_its_path_and_that_it_listens() {
        let line =
            "0000000000000000: 00000002 00000000 00010000 0001 01 73193 /var/run/nscd/socket";
        assert!(is_listening_at(line, "/var/run/nscd/socket"));
        assert!(!is_listening_at(line, "/run/nscd/socket"));
        assert!(!is_listening_at(
            &line.replace("00010000", "00000000"),
            "/var/run/nscd/socket"
        ));
        let header = "Num       RefCount Protocol Flags    Type St Inode Path";
        assert!(!is_listening_at(header, "Path"));
    }
}
