//! A browser whose script (PAC) sends each site another way: one straight, one over SOCKS4 by its address, one over SOCKS5 by
//! its name. What leakmon says of each is held against the logs of the name server, the proxies and the sites.

use leakmon_lab::browser::Stay;
use leakmon_lab::compare::{asked, same, seen};
use leakmon_lab::firefox::PATIENCE;
use leakmon_lab::lab::{PAGE, PAGE_ADDRESS, SERVER, SOCKS_PORT};
use leakmon_lab::output::evidence_text;
use leakmon_lab::servers::wait_listening;
use leakmon_lab::{Chromium, Firefox, LIMIT, Lab, Leakmon, Program, wait};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// The site that is reached straight.
const DIRECT: &str = "direct.example";
const DIRECT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 90);
/// Where its server listens, on every address of the server's side: the script comes from there too.
const DIRECT_PORT: u16 = 8090;
/// A page of the straight site and of the named one, with pictures of all three.
const SITE: &str = "<!doctype html><title>site</title>
<img src=\"http://direct.example:8090/straight.png\">
<img src=\"http://page.example/by-address.png\">
<img src=\"http://named.example/by-name.png\">
";
/// The site that is given to the proxy by its name.
const NAMED: &str = "named.example";
/// Where dante listens, which speaks SOCKS4 and truly relays.
const DANTE_PORT: u16 = 1081;

struct Scene {
    lab: Lab,
    site: Program,
    dante: Program,
    script: String,
}

impl Scene {
    fn build(scenario: &str, browser: &'static str) -> Option<Self> {
        let lab = Lab::builder(scenario)
            .socks()
            .web()
            .record(DIRECT, &[IpAddr::V4(DIRECT_ADDRESS)])
            .record(NAMED, &[PAGE_ADDRESS.into()])
            .needs(&[browser, "danted"])
            .build()?;
        lab.server().configure(&[format!("{DIRECT_ADDRESS}/24")]);
        let script = format!(
            "function FindProxyForURL(url, host) {{ \
             if (host == '{DIRECT}') return 'DIRECT'; \
             if (host == '{PAGE}') return 'SOCKS {}:{DANTE_PORT}'; \
             return 'SOCKS5 {}:{SOCKS_PORT}'; }}",
            SERVER.0, SERVER.0
        );
        let folder = lab.dir().join("site");
        fs::create_dir(&folder).expect("a folder can be made");
        for (name, text) in [("site.html", SITE), ("proxy.pac", &script)] {
            fs::write(folder.join(name), text).expect("a file can be written");
        }
        fs::write(lab.dir().join("pages/site.html"), SITE).expect("a file can be written");
        let mut command = lab.command_on_server("/usr/bin/python3");
        command
            .args(["-u", "-m", "http.server", &DIRECT_PORT.to_string()])
            .current_dir(folder);
        let mut site = Program::spawn(&mut command);
        wait_listening(&mut site, DIRECT_PORT);

        let config = lab.dir().join("danted.conf");
        let text = format!(
            "logoutput: stderr\ninternal: {} port = {DANTE_PORT}\nexternal: {PAGE_ADDRESS}\n\
             clientmethod: none\nsocksmethod: none\n\
             client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n\
             socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0\n log: connect }}\n",
            SERVER.0
        );
        fs::write(&config, text).expect("a file can be written");
        let mut command = lab.command_on_server("danted");
        let mut dante = Program::spawn(command.arg("-f").arg(config));
        wait_listening(&mut dante, DANTE_PORT);
        Some(Self {
            lab,
            site,
            dante,
            script,
        })
    }

    /// The script's address on the server, from which leakmon does not fetch it.
    fn url_on_server(&self) -> String {
        format!("http://{}:{DIRECT_PORT}/proxy.pac", SERVER.0)
    }

    /// What a browser is opened with. Of a script that leakmon has not read nothing is known but that a proxy may be there: a
    /// straight connection says something only once the browser has spoken with one.
    fn url(is_read: bool) -> String {
        if is_read {
            format!("http://{DIRECT}:{DIRECT_PORT}/site.html")
        } else {
            format!("http://{NAMED}/site.html")
        }
    }

    /// What the servers have seen, for the message of a failure.
    fn said(&self) -> String {
        format!(
            "--- the site\n{}\n--- dante\n{}\n--- microsocks\n{}\n--- the page's server\n{}\n--- names {:?}",
            self.site.said(),
            self.dante.said(),
            self.lab.socks_log(),
            self.lab.web_log(),
            self.lab.dns_log()
        )
    }

    /// Waits until all three sites were reached, and holds what leakmon says of each against how.
    fn hold(&self, leakmon: Leakmon, close: impl FnOnce()) {
        let lab = &self.lab;
        let have_come = wait::until_true(PATIENCE, || {
            let (pages, site) = (lab.web_log(), self.site.stderr.text());
            pages.contains("GET /by-address.png")
                && pages.contains("GET /by-name.png")
                && site.contains("GET /straight.png")
        });
        leakmon.wait_for(LIMIT, |state| {
            let mut queries = state.queries_for(DIRECT);
            state.proof_for(PAGE).is_some()
                && queries.all(|query| query["verdict"] == "explained")
                && state
                    .proxies()
                    .any(|proxy| proxy["target"]["name"] == NAMED)
        });
        close();
        leakmon.catch_up(lab);
        let run = leakmon.stop();
        let state = run.final_state();
        assert!(have_come, "{}\n{}", self.said(), run.said());

        let by_address = format!("{PAGE_ADDRESS}.80");
        assert!(
            self.dante.stderr.text().contains(&by_address),
            "{}",
            self.said()
        );
        assert!(lab.socks_log().contains(NAMED), "{}", self.said());
        let log = lab.dns_log();
        assert!(lab.is_asked(DIRECT) && lab.is_asked(PAGE), "{log:?}");
        assert!(!lab.is_asked(NAMED), "{log:?}");
        assert!(
            same(&seen(state.queries()), &log),
            "asked {:#?}\n{}",
            asked(&log),
            run.said()
        );

        for query in state.queries_for(DIRECT) {
            assert_eq!(query["verdict"], "explained", "{query:#}");
            let why = format!("connected straight to {DIRECT_ADDRESS}:{DIRECT_PORT}");
            assert!(query["explanation"].to_string().contains(&why), "{query:#}");
        }
        for query in state.queries_for(PAGE) {
            assert_eq!(query["verdict"], "leak", "{query:#}");
        }
        let proof = state
            .proof_for(PAGE)
            .unwrap_or_else(|| panic!("nothing proven\n{}", run.said()));
        assert!(
            evidence_text(proof).contains(&format!("for {PAGE_ADDRESS}:80")),
            "{proof:#}"
        );
        assert_eq!(proof["proxy"]["scheme"], "socks4", "{proof:#}");
        assert_eq!(proof["proxy"]["port"], DANTE_PORT, "{proof:#}");
        // Nothing else is found: not the straight site, not the named one, not the fetching of the script.
        assert_eq!(state.findings().count(), 1, "{}", run.said());
    }
}

fn chromium(scenario: &str, is_read: bool, script: impl Fn(&Scene) -> String) {
    let Some(scene) = Scene::build(scenario, "chromium") else {
        return;
    };
    let leakmon = Leakmon::watch(&scene.lab, &[]);
    let flag = format!("--proxy-pac-url={}", script(&scene));
    let mut chromium = Chromium::stay(
        &scene.lab,
        Stay {
            args: &[&flag],
            url: &Scene::url(is_read),
            ..Stay::default()
        },
    );
    scene.hold(leakmon, || chromium.close());
}

#[test]
fn chromium_with_a_script_in_its_flag() {
    chromium("per_site_chromium_data", true, |scene| {
        format!("data:,{}", scene.script)
    });
}

#[test]
fn chromium_with_a_script_on_a_server() {
    chromium("per_site_chromium_http", false, Scene::url_on_server);
}

fn firefox(scenario: &str, is_read: bool, script: impl Fn(&Scene) -> String) {
    let Some(scene) = Scene::build(scenario, "firefox-esr") else {
        return;
    };
    let leakmon = Leakmon::watch(&scene.lab, &[]);
    let mut firefox = Firefox::builder(&scene.lab)
        .pref("network.proxy.type", "2")
        .pref(
            "network.proxy.autoconfig_url",
            &format!("\"{}\"", script(&scene)),
        )
        // Else what a script calls SOCKS is SOCKS4a.
        .pref("network.proxy.socks5_remote_dns", "false")
        .open(&Scene::url(is_read));
    scene.hold(leakmon, || firefox.close());
}

#[test]
fn firefox_with_a_script_in_a_file() {
    firefox("per_site_firefox_file", true, |scene| {
        format!("file://{}/site/proxy.pac", scene.lab.dir().display())
    });
}

#[test]
fn firefox_with_a_script_on_a_server() {
    firefox("per_site_firefox_http", false, Scene::url_on_server);
}
