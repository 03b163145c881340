//! The lab itself, without leakmon: the witnesses see what happens, and nothing is left behind.

use leakmon_lab::compare::{asked, asked_once};
use leakmon_lab::lab::{
    CLIENT, DUAL, DUAL_ADDRESSES, PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER, SOCKS_PORT,
};
use leakmon_lab::{Chromium, LIMIT, Lab};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

#[test]
fn dnsmasq_answers_and_logs_what_it_was_asked() {
    let Some(lab) = Lab::builder("dnsmasq_answers_and_logs")
        .needs(&["dig", "getent"])
        .build()
    else {
        return;
    };

    let (_, dig) = lab.run("dig", &["+short", PAGE]);
    assert_eq!(dig.text().trim(), PAGE_ADDRESS.to_string());
    let (_, dig) = lab.run("dig", &["+short", "+tcp", PAGE]);
    assert_eq!(dig.text().trim(), PAGE_ADDRESS.to_string());
    let (_, dig) = lab.run("dig", &["+short", &format!("@{}", SERVER.1), DUAL, "AAAA"]);
    assert_eq!(dig.text().trim(), DUAL_ADDRESSES.1.to_string());
    let (_, getent) = lab.run("getent", &["ahosts", DUAL]);
    assert!(
        getent.text().contains(&DUAL_ADDRESSES.0.to_string()),
        "{getent:?}"
    );
    assert!(
        getent.text().contains(&DUAL_ADDRESSES.1.to_string()),
        "{getent:?}"
    );

    let log = lab.dns_log();
    let expected = [(PAGE, "A", 2), (DUAL, "A", 1), (DUAL, "AAAA", 2)];
    let expected = expected
        .map(|(name, qtype, count)| ((name.to_owned(), qtype.to_owned()), count))
        .into();
    assert_eq!(asked_once(&log), expected, "{log:?}");
    assert!(
        log.iter()
            .any(|asked| asked.client == IpAddr::from(CLIENT.1)),
        "none came over IPv6: {log:?}"
    );
}

#[test]
fn a_lab_has_the_names_that_it_was_given() {
    let other: IpAddr = [10, 77, 0, 99].into();
    let Some(lab) = Lab::builder("a_lab_has_its_names")
        .record("other.example", &[other])
        .needs(&["dig"])
        .build()
    else {
        return;
    };
    assert_eq!(
        lab.run("dig", &["+short", "other.example"]).1.text().trim(),
        other.to_string()
    );
}

#[test]
fn tor_warns_of_an_address_and_asks_for_no_names_itself() {
    let Some(lab) = Lab::builder("tor_warns").tor().needs(&["curl"]).build() else {
        return;
    };
    let url = format!("http://{PAGE}/");

    let _ = lab.run(
        "curl",
        &[
            "-sS",
            "--max-time",
            "5",
            "--socks4a",
            "127.0.0.1:9050",
            &url,
        ],
    );
    assert!(
        asked(&lab.dns_log()).is_empty(),
        "tor or socks4a asked for a name: {:?}",
        lab.dns_log()
    );

    let (_, curl) = lab.run(
        "curl",
        &["-sS", "--max-time", "5", "--socks4", "127.0.0.1:9050", &url],
    );
    assert!(
        lab.wait_tor_warning(LIMIT),
        "tor did not warn: {curl:?} {:#?}",
        lab.tor_log()
    );
    assert!(
        lab.dns_log().iter().all(|asked| asked.name == PAGE),
        "{:?}",
        lab.dns_log()
    );
    assert!(
        !lab.dns_log().is_empty(),
        "curl resolved nothing, so the warning means nothing"
    );
}

#[test]
fn the_socks_server_relays_to_the_page() {
    let Some(lab) = Lab::builder("the_socks_server_relays")
        .socks()
        .web()
        .needs(&["curl"])
        .build()
    else {
        return;
    };
    let proxy = format!("{}:{SOCKS_PORT}", SERVER.0);
    let url = format!("http://{PAGE}/");

    let (_, curl) = lab.run(
        "curl",
        &["-sS", "--max-time", "10", "--socks5-hostname", &proxy, &url],
    );
    assert!(curl.text().contains(PAGE_TEXT), "{curl:?}");
    assert!(lab.socks_log().contains(PAGE), "{}", lab.socks_log());
    assert!(lab.dns_log().is_empty(), "{:?}", lab.dns_log());

    let (_, curl) = lab.run(
        "curl",
        &["-sS", "--max-time", "10", "--socks5", &proxy, &url],
    );
    assert!(curl.text().contains(PAGE_TEXT), "{curl:?}");
    assert!(
        lab.socks_log().contains(&PAGE_ADDRESS.to_string()),
        "{}",
        lab.socks_log()
    );
    assert!(
        asked(&lab.dns_log()).contains_key(&(PAGE.to_owned(), "A".to_owned())),
        "{:?}",
        lab.dns_log()
    );
    assert!(lab.web_log().contains("GET /"), "{}", lab.web_log());
}

#[test]
fn chromium_is_quiet_but_for_the_page() {
    let Some(lab) = Lab::builder("chromium_is_quiet")
        .web()
        .needs(&["chromium"])
        .build()
    else {
        return;
    };
    let mut chromium = Chromium::open(&lab, &[], &format!("http://{PAGE}/"));
    assert!(chromium.wait_page(PAGE_TEXT, LIMIT), "{}", chromium.said());
    chromium.close();
    assert!(
        lab.dns_log().iter().all(|asked| asked.name == PAGE),
        "{:?}",
        lab.dns_log()
    );
    assert!(!lab.dns_log().is_empty());
}

#[test]
fn the_spawned_process_becomes_the_program() {
    let Some(lab) = Lab::builder("the_spawned_process_becomes_the_program").build() else {
        return;
    };
    let (pid, shell) = lab.run(
        "sh",
        &[
            "-c",
            "echo $$; grep -c . /etc/resolv.conf; cat /proc/self/cgroup",
        ],
    );
    let text = shell.text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(pid.to_string().as_str()));
    assert_eq!(
        lines.next(),
        Some("1"),
        "the client has the machine's resolv.conf: {text}"
    );
    assert!(
        text.lines()
            .any(|line| line.starts_with("0::/leakmon-lab-") && line.ends_with("/client")),
        "{text}"
    );
}

#[test]
fn nothing_is_left_of_a_lab() {
    let Some(lab) = Lab::builder("nothing_is_left")
        .tor()
        .socks()
        .web()
        .needs(&["sleep"])
        .build()
    else {
        return;
    };
    let left = Traces::of(&lab);
    let _forgotten = lab.start("sh", &["-c", "sleep 1000 & sleep 1000 & wait"]);
    assert_eq!(
        left.there(),
        left.all(),
        "a test that looks at the wrong places proves nothing"
    );
    drop(lab);
    assert_eq!(left.there(), Vec::<String>::new());
}

#[test]
fn nothing_is_left_of_a_lab_whose_scenario_panics() {
    let Some(lab) = Lab::builder("nothing_is_left_after_a_panic").build() else {
        return;
    };
    let left = Traces::of(&lab);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _lab = lab;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(left.there(), Vec::<String>::new());
}

/// Everything by which a lab could be noticed.
struct Traces {
    paths: Vec<String>,
    mark: String,
}

impl Traces {
    fn of(lab: &Lab) -> Self {
        let mut paths = vec![
            lab.dir().display().to_string(),
            lab.cgroup().display().to_string(),
        ];
        for name in [lab.client().name(), lab.server().name()] {
            paths.push(format!("/run/netns/{name}"));
            paths.push(format!("/etc/netns/{name}"));
        }
        paths.push(
            lab.cgroup()
                .parent()
                .expect("the lab's own cgroup")
                .display()
                .to_string(),
        );
        let mark = lab
            .dir()
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        Self { paths, mark }
    }

    fn all(&self) -> Vec<String> {
        self.paths
            .iter()
            .cloned()
            .chain(["processes".to_owned()])
            .collect()
    }

    fn there(&self) -> Vec<String> {
        let paths = self
            .paths
            .iter()
            .filter(|path| Path::new(path).exists())
            .cloned();
        paths
            .chain(self.has_processes().then(|| "processes".to_owned()))
            .collect()
    }

    /// A program of the lab has the lab's folder as its home; this finds those outside its cgroups too.
    fn has_processes(&self) -> bool {
        let home = format!("/{}\0", self.mark);
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .any(|process| {
                fs::read(process.path().join("environ"))
                    .is_ok_and(|environ| String::from_utf8_lossy(&environ).contains(&home))
            })
    }
}
