//! A program in namespaces of its own, as a container engine makes them, is seen from the machine by its process id
//! there, and told to be in a container.

use leakmon_lab::cgroup::Cgroup;
use leakmon_lab::lab::{PAGE, PAGE_ADDRESS};
use leakmon_lab::program::children;
use leakmon_lab::{LIMIT, Lab, Leakmon, Program, wait};
use serde_json::Value;
use std::fs;

/// Asks twice, with the word of the test before each, so that its process id can be learnt first.
const ASK: &str = r#"
    for round in 1 2; do
        until [ -e "$0/go-$round" ]; do sleep 0.02; done
        dig +short "$1" > "$0/answer-$round"
    done
"#;

#[test]
fn a_program_in_a_container_is_seen_and_named() {
    let Some(lab) = Lab::builder("container").needs(&["dig", "unshare"]).build() else {
        return;
    };
    let agent = Leakmon::watch(&lab, &[]);
    let cgroup = Cgroup::create(lab.cgroup(), "box");
    let dir = lab.dir().to_str().expect("a path that is text");
    // The network namespace is the lab's client's; the others are made here.
    let mut command = lab.command_below(&cgroup, "unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["--mount", "--uts", "--ipc", "--cgroup"])
        .args(["sh", "-c", ASK, dir, PAGE]);
    let unshare = Program::spawn(&mut command);
    let shell = wait::until(LIMIT, || {
        let &child = children(unshare.pid()).first()?;
        let exe = fs::read_link(format!("/proc/{child}/exe")).ok()?;
        exe.ends_with("dash").then_some(child)
    })
    .unwrap_or_else(|| panic!("no container\n{}", unshare.said()));
    let namespaces = fs::read_link(format!("/proc/{shell}/ns/pid")).expect("it runs");
    assert_ne!(
        namespaces,
        fs::read_link("/proc/self/ns/pid").expect("this runs"),
        "it is no container"
    );

    for round in ["1", "2"] {
        fs::write(lab.dir().join(format!("go-{round}")), "").expect("a file can be written");
        agent.wait_for(LIMIT, |state| {
            state.queries_for(PAGE).count() >= round.parse().expect("a number")
        });
    }
    let finished = unshare.finish(LIMIT);
    agent.wait_answers(PAGE);
    let run = agent.stop();

    assert!(finished.status.success(), "{finished:?}");
    for round in ["1", "2"] {
        let answer = fs::read_to_string(lab.dir().join(format!("answer-{round}")));
        assert_eq!(
            answer.unwrap_or_default().trim(),
            PAGE_ADDRESS.to_string(),
            "{round}"
        );
    }
    assert_eq!(lab.dns_log().len(), 2);
    let state = run.final_state();
    let queries: Vec<&Value> = state.queries().collect();
    assert_eq!(queries.len(), 2, "{}", run.said());
    for query in &queries {
        let process = &query["process"];
        assert_eq!(query["name"], PAGE, "{query}");
        assert_eq!(process["comm"], "dig", "{query}");
        assert_eq!(process["cmdline"][0], "dig", "{query}");
        // Its parent is the shell, as the machine knows it; in the container that is process 1.
        assert_eq!(process["ppid"], shell, "{query}");
        assert_ne!(process["pid"], shell, "{query}");
        assert_eq!(process["netns"], lab.client().inode(), "{query}");
        let group = process["cgroup"].as_str().unwrap_or_default();
        assert!(group.ends_with("/client/box"), "{query}");
        assert!(process["container"].is_string(), "{query}");
        assert_eq!(state.answers_to(query).count(), 1, "{}", run.said());
    }
    assert_ne!(queries[0]["process"]["pid"], queries[1]["process"]["pid"]);
    assert_eq!(
        queries[0]["process"]["container"], queries[1]["process"]["container"],
        "one container, two names"
    );
}

/// The same machine, the same cgroup, no namespaces of its own but the network's: no container.
#[test]
fn a_program_outside_is_in_no_container() {
    let Some(lab) = Lab::builder("no_container").needs(&["dig"]).build() else {
        return;
    };
    let agent = Leakmon::watch(&lab, &[]);
    let (_, dig) = lab.run("dig", &["+short", PAGE]);
    assert!(dig.status.success(), "{dig:?}");
    agent.catch_up(&lab);
    let run = agent.stop();
    let state = run.final_state();
    assert_eq!(state.queries().count(), 1, "{}", run.said());
    for query in state.queries() {
        assert_eq!(query["process"]["comm"], "dig", "{query}");
        assert!(query["process"]["container"].is_null(), "{query}");
    }
}
