//! A test binary that is killed cannot tidy up. The next lab does it, and leaves the labs of the living alone.

use leakmon_lab::{LIMIT, Lab, Leakmon, Program, need, wait};
use rustix::process::Signal;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set for the process that is to be killed.
const ABANDON: &str = "LEAKMON_LAB_ABANDON";

/// Runs in a process of its own, which is killed in the midst of it: a scenario as any other, with an agent.
#[test]
fn a_scenario_that_never_ends() {
    if env::var_os(ABANDON).is_none() {
        return;
    }
    let lab = Lab::builder("sweep_abandoned")
        .tor()
        .web()
        .build()
        .expect("its parent has a lab too");
    let _agent = Leakmon::watch(&lab, &[]);
    let mut places = vec![lab.dir().to_owned(), lab.cgroup().to_owned()];
    for namespace in [lab.client(), lab.server()] {
        places.push(Path::new("/run/netns").join(namespace.name()));
        places.push(Path::new("/etc/netns").join(namespace.name()));
    }
    for place in places {
        println!("place {}", place.display());
    }
    println!("that is all");
    loop {
        std::thread::park();
    }
}

fn places(scenario: &Program) -> Vec<PathBuf> {
    let text = scenario.stdout.text();
    // The test harness writes on the same line before the first one.
    let place = |line: &str| Some(PathBuf::from(line.split_once("place ")?.1));
    text.lines().filter_map(place).collect()
}

fn there(places: &[PathBuf]) -> Vec<&PathBuf> {
    places.iter().filter(|place| place.exists()).collect()
}

/// The agents that watch this cgroup.
fn agents(cgroup: &Path) -> usize {
    let name = cgroup.to_str().expect("a path that is text");
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|process| {
            std::fs::read(process.path().join("cmdline"))
                .is_ok_and(|cmdline| String::from_utf8_lossy(&cmdline).contains(name))
        })
        .count()
}

#[test]
fn what_a_killed_process_has_left_goes_with_the_next_lab() {
    if !need::met("sweep", &["python3", "tor"]) {
        return;
    }
    let mut scenario = Program::spawn(
        Command::new(env::current_exe().expect("this program has a path"))
            .args(["--exact", "a_scenario_that_never_ends", "--nocapture"])
            .env(ABANDON, "1"),
    );
    let ready = wait::until_true(LIMIT, || {
        scenario.stdout.text().contains("that is all") || scenario.try_wait().is_some()
    });
    let places = places(&scenario);
    assert!(
        ready && places.len() == 6 && there(&places).len() == 6,
        "{places:?}\n{}",
        scenario.said()
    );

    let beside = Lab::builder("sweep_beside").build();
    assert_eq!(there(&places).len(), 6, "a living lab has lost {places:?}");
    assert_eq!(agents(&places[1]), 1);

    scenario.signal(Signal::KILL);
    wait::until(LIMIT, || scenario.try_wait()).expect("a killed process ends");
    let _next = Lab::builder("sweep_next").build();
    assert_eq!(there(&places), Vec::<&PathBuf>::new());
    assert_eq!(agents(&places[1]), 0, "its agent still runs");

    let beside = beside.expect("it was possible before");
    assert!(beside.dir().exists() && beside.cgroup().exists());
}
