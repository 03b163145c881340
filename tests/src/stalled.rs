//! Programs that are looked at while they wait for an answer: what `leakmon audit` says of them at that moment, and what the
//! servers have seen of them.

use crate::lab::{Lab, PAGE, PAGE_ADDRESS, PAGE_TEXT};
use crate::program::Program;
use crate::stall::Stall;
use crate::{LIMIT, leakmon, wait};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// A lab whose web server holds its answers back.
#[derive(Debug)]
pub struct Scene {
    /// The lab itself.
    pub lab: Lab,
    /// The web server.
    pub stall: Stall,
}

/// One program, looked at while it waited for its answer.
#[derive(Debug)]
pub struct Outcome {
    /// What `leakmon audit --json` said of it.
    pub audit: Option<Value>,
    /// With which exit code.
    pub code: Option<i32>,
    /// Whether the name server was asked for the page's name.
    pub asked: bool,
    /// What the SOCKS server was given, name or address.
    pub given: Vec<String>,
    /// What the web server was asked for.
    pub targets: Vec<String>,
    /// All of that and more, for the message of a failure.
    pub said: String,
}

impl Scene {
    /// Builds the lab and starts the web server; `None` when something is missing, as [`crate::LabBuilder::build`].
    #[must_use]
    pub fn build(scenario: &str, needs: &[&'static str]) -> Option<Self> {
        let needs = [needs, &["python3"]].concat();
        let lab = Lab::builder(scenario).socks().needs(&needs).build()?;
        let stall = Stall::start(&lab);
        stall.page("index.html", PAGE_TEXT);
        Some(Self { lab, stall })
    }

    /// A file in the home folder of the lab's programs; its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.lab.dir().join(name);
        fs::write(&path, text).expect("a file can be written");
        path.display().to_string()
    }

    /// Takes such a file away again.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.lab.dir().join(name)).expect("the file was written before");
    }

    /// Runs a program with these arguments and variables.
    #[must_use]
    pub fn run(&self, program: &str, args: &[&str], variables: &[(&str, &str)]) -> Outcome {
        self.run_with(program, args, variables, &[])
    }

    /// The same, with options for leakmon.
    #[must_use]
    pub fn run_with(
        &self,
        program: &str,
        args: &[&str],
        variables: &[(&str, &str)],
        options: &[&str],
    ) -> Outcome {
        let mut command = self.lab.command(program);
        command.args(args).envs(variables.iter().copied());
        self.outcome(&mut command, options, true)
    }

    /// The same for a command that need not end by itself once it has its answer.
    #[must_use]
    pub fn outcome(&self, command: &mut Command, options: &[&str], ends: bool) -> Outcome {
        self.stall.hold();
        let (questions, requests) = (self.lab.dns_log().len(), self.stall.held().len());
        let connections = self.lab.socks_log().lines().count();
        let mut program = Program::spawn(command);
        let held = wait::until_true(LIMIT, || {
            self.stall.held().len() > requests || program.try_wait().is_some()
        });
        assert!(
            held && program.try_wait().is_none(),
            "the program did not come to its request: {command:?}\n{}\n{}",
            program.said(),
            self.lab.socks_log()
        );
        let pid = program.pid();
        let wanted = pid.to_string();
        let args = [&["audit", "--json", "--pid", &wanted], options].concat();
        let audit = leakmon::run(&args);
        self.stall.release();
        assert!(
            !ends || wait::until_true(LIMIT, || program.try_wait().is_some()),
            "the program did not end: {command:?}\n{}",
            program.said()
        );
        let lines = audit.text();
        Outcome {
            // Programs that it started are apps of their own, with lines of their own.
            audit: lines
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"))
                .find(|line| line["app"]["pid"] == pid),
            code: audit.status.code(),
            asked: self.lab.dns_log()[questions..]
                .iter()
                .any(|asked| asked.name == PAGE),
            given: self
                .lab
                .socks_log()
                .lines()
                .skip(connections)
                .filter_map(|line| Some(line.split_once("connected to ")?.1.to_owned()))
                .collect(),
            targets: self.stall.held()[requests..].to_vec(),
            said: format!(
                "{command:?}\n{}\n{lines}{}\n{:#?}",
                program.said(),
                audit.stderr,
                self.lab.dns_log()
            ),
        }
    }
}

impl Outcome {
    /// What audit said, which has to be something.
    #[must_use]
    pub fn audit(&self) -> &Value {
        match &self.audit {
            Some(audit) => audit,
            None => panic!("audit said nothing\n{}", self.said),
        }
    }

    /// What audit named as its evidence.
    #[must_use]
    pub fn evidence(&self) -> String {
        self.audit()["evidence"].to_string()
    }

    /// Asserts where audit said that it goes, through which proxy (`scheme://host:port`, or nothing) and who resolves.
    pub fn is_told(&self, route: &str, proxy: &str, resolves: &str) {
        let audit = self.audit();
        assert_eq!(audit["route"], route, "{}", self.said);
        let shown = match &audit["proxy"] {
            Value::Null => String::new(),
            proxy => format!(
                "{}://{}:{}",
                proxy["scheme"].as_str().unwrap_or_default(),
                proxy["addr"].as_str().unwrap_or_default(),
                proxy["port"]
            ),
        };
        assert_eq!(shown, proxy, "{}", self.said);
        assert_eq!(audit["resolves"], resolves, "{}", self.said);
    }

    /// Asserts that audit said that it leaks, and so it did.
    pub fn leaks_over(&self, proxy: &str) {
        self.is_told("proxy", proxy, "local");
        assert_eq!(self.audit()["leaks"][0]["certain"], true, "{}", self.said);
        assert_eq!(self.code, Some(1), "{}", self.said);
        assert!(self.asked, "it did not ask for the name\n{}", self.said);
        let address = format!("{PAGE_ADDRESS}:80");
        assert!(self.given.contains(&address), "{:?}", self.given);
    }

    /// Asserts that audit said that it leaves names to the proxy, and so it did.
    pub fn leaves_names_to(&self, proxy: &str) {
        self.is_told("proxy", proxy, "remote");
        assert_eq!(
            self.audit()["leaks"],
            serde_json::json!([]),
            "{}",
            self.said
        );
        assert_eq!(self.code, Some(0), "{}", self.said);
        assert!(!self.asked, "it asked for the name\n{}", self.said);
        let name = format!("{PAGE}:80");
        assert!(
            !proxy.starts_with("socks") || self.given.contains(&name),
            "{:?}\n{}",
            self.given,
            self.said
        );
    }

    /// Asserts that nothing is said of it at all, and that it went direct.
    pub fn is_told_nothing(&self) {
        assert!(self.audit.is_none(), "{}", self.said);
        assert_eq!(self.code, Some(0), "{}", self.said);
        assert!(self.asked && self.given.is_empty(), "{}", self.said);
    }
}
