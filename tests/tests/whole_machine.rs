//! Without `--cgroup` leakmon watches the whole machine. What else goes on there is not the lab's business, so only the
//! lab's own processes are looked at.

use leakmon_lab::compare::{same, seen};
use leakmon_lab::dnsmasq::{Dnsmasq, Record};
use leakmon_lab::lab::{DUAL, PAGE, PAGE_ADDRESS, SERVER};
use leakmon_lab::{Asked, LIMIT, Lab, Leakmon, Program, State, cgroup, leakmon};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};

/// Asks for a name and stays, so that there is time to see who it is.
const ASK_AND_STAY: &str =
    "import socket, time; socket.getaddrinfo('dual.example', 80); time.sleep(1000)";

/// The queries of a process.
fn queries_of(state: &State, pid: u32) -> Vec<&Value> {
    state
        .queries()
        .filter(|query| query["process"]["pid"] == pid)
        .collect()
}

/// A name server on the machine's own loopback, on a port that nothing else has.
fn machine_dns(lab: &Lab) -> (Dnsmasq, u16) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let port = free.local_addr().expect("it has an address").port();
    drop(free);
    let record = Record {
        name: PAGE.to_owned(),
        addresses: vec![PAGE_ADDRESS.into()],
    };
    let listen = [Ipv4Addr::LOCALHOST.into()];
    let command = lab.command_on_machine("dnsmasq");
    (
        Dnsmasq::start(command, lab.dir(), &listen, port, &[record]),
        port,
    )
}

/// Looks a name up outside of any namespace.
fn look_up_on_machine(lab: &Lab, port: u16, when: &str) -> u32 {
    let mut command = lab.command_on_machine("dig");
    command.args(["+short", "@127.0.0.1", "-p", &port.to_string(), PAGE]);
    let program = Program::spawn(&mut command);
    let pid = program.pid();
    let dig = program.finish(LIMIT);
    assert_eq!(
        dig.text().trim(),
        PAGE_ADDRESS.to_string(),
        "{when}: {dig:?}"
    );
    pid
}

#[test]
fn without_a_cgroup_everything_is_watched_and_nothing_is_disturbed() {
    let Some(lab) = Lab::builder("whole_machine")
        .needs(&["dig", "python3"])
        .build()
    else {
        return;
    };
    let (dns, port) = machine_dns(&lab);
    look_up_on_machine(&lab, port, "before");
    let before = dns.log().len();

    let mut command = lab.command_on_machine(leakmon::binary());
    command.args(["watch", "--json", "--port", &port.to_string()]);
    let agent = Leakmon::start(command);
    assert!(
        agent.stderr().contains("this machine"),
        "{}",
        agent.stderr()
    );
    let on_machine = look_up_on_machine(&lab, port, "while it is watched");
    let (dig, finished) = lab.run("dig", &["+short", PAGE]);
    assert!(finished.status.success(), "{finished:?}");
    let python = lab.start("/usr/bin/python3", &["-c", ASK_AND_STAY]);
    let of_lab = |state: &State| -> Vec<Value> {
        let of = |pid| queries_of(state, pid).into_iter().cloned();
        of(dig).chain(of(python.pid())).collect()
    };
    let both = |log: &[Asked]| log.iter().filter(|asked| asked.name == DUAL).count() >= 2;
    assert!(
        lab.wait_dns(LIMIT, both),
        "it did not ask\n{}",
        python.said()
    );
    agent.wait_for(LIMIT, |state| {
        let queries = of_lab(state);
        let is_answered = |query| state.answers_to(query).next().is_some();
        same(&seen(queries.iter()), &lab.dns_log()) && queries.iter().all(is_answered)
    });
    let run = agent.stop();
    look_up_on_machine(&lab, port, "after");

    let state = run.final_state();
    let queries = of_lab(&state);
    let log = lab.dns_log();
    assert!(same(&seen(queries.iter()), &log), "{log:?}\n{}", run.said());
    for query in &queries {
        assert_eq!(query["app"]["pid"], query["process"]["pid"], "{query}");
        assert_eq!(query["resolver"]["addr"], SERVER.0.to_string(), "{query}");
        assert_eq!(query["escaped"], true, "{query}");
        assert_eq!(state.answers_to(query).count(), 1, "{query}");
        // dig may be gone before anybody can look at it.
        if query["name"] == DUAL {
            assert_eq!(query["process"]["comm"], "python3", "{query}");
            assert_eq!(query["process"]["cgroup"], in_hierarchy(&lab), "{query}");
        }
    }

    let queries = queries_of(&state, on_machine);
    assert_eq!(dns.log().len(), before + 2, "while and after");
    assert_eq!(queries.len(), 1, "{}", run.said());
    assert_eq!(queries[0]["name"], PAGE, "{}", queries[0]);
    assert_eq!(queries[0]["resolver"]["port"], port, "{}", queries[0]);
    assert_eq!(queries[0]["escaped"], false, "{}", queries[0]);
}

/// The client's cgroup as the kernel names it.
fn in_hierarchy(lab: &Lab) -> String {
    let root = cgroup::v2_mount().expect("it was found before");
    let below = lab.cgroup().strip_prefix(root);
    format!("/{}", below.expect("it is in the hierarchy").display())
}
