//! What the lab's servers have in common: one is there when it listens, and that is read from the kernel's own tables,
//! since a test connection would be traffic of its own.

use crate::program::Program;
use crate::{LIMIT, wait};
use std::fs;

/// Waits until a TCP socket listens on `port` in the network namespace of `program`.
pub fn wait_listening(program: &mut Program, port: u16) {
    let listens = wait::until(LIMIT, || {
        if let Some(status) = program.try_wait() {
            return Some(Err(status));
        }
        ["tcp", "tcp6"]
            .iter()
            .filter_map(|table| {
                fs::read_to_string(format!("/proc/{}/net/{table}", program.pid())).ok()
            })
            .any(|table| table.lines().any(|line| is_listening(line, port)))
            .then_some(Ok(()))
    });
    match listens {
        Some(Ok(())) => {}
        Some(Err(status)) => panic!(
            "a server of the lab ended with {status}\n{}",
            program.said()
        ),
        None => panic!(
            "nothing listens on port {port} after {LIMIT:?}\n{}",
            program.said()
        ),
    }
}

/// A line of /proc/net/tcp: `sl local_address rem_address st …`, where state 0A is LISTEN and the port is hexadecimal.
fn is_listening(line: &str, port: u16) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    fields.len() > 3 && fields[3] == "0A" && fields[1].ends_with(&format!(":{port:04X}"))
}

#[cfg(test)]
mod tests {
    use super::is_listening;

    #[test]
    fn a_listening_socket_is_known_by_state_and_port() {
        let line = "   0: 0100007F:235A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1";
        assert!(is_listening(line, 9050));
        assert!(!is_listening(line, 80));
        assert!(!is_listening(&line.replace(" 0A ", " 01 "), 9050));
        assert!(!is_listening("  sl  local_address rem_address   st", 9050));
    }
}
