//! What `leakmon audit` says of one running program.

use crate::leakmon;
use serde_json::Value;

/// One posture, and how the audit ended.
#[derive(Debug)]
pub struct Audited {
    /// The JSON line.
    pub line: Value,
    /// 1 when something leaks for certain, else 0.
    pub code: Option<i32>,
}

/// Audits the program with this process id. Panics when leakmon says nothing of it, or of more than one.
#[must_use]
pub fn audit(pid: u32) -> Audited {
    audit_with(pid, &["--all"])
}

/// The same for a program that was told something: panics when it was told nothing.
#[must_use]
pub fn audit_told(pid: u32) -> Audited {
    audit_with(pid, &[])
}

fn audit_with(pid: u32, options: &[&str]) -> Audited {
    let pid_text = pid.to_string();
    let finished = leakmon::run(&[&["audit", "--json", "--pid", &pid_text], options].concat());
    let text = finished.text();
    let mut lines = text.lines();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        panic!("not one line\n{text}\n{}", finished.stderr);
    };
    let line: Value = serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("not a JSON line ({error}): {line}"));
    assert_eq!(line["type"], "posture", "{line:#}");
    assert_eq!(line["app"]["pid"], pid, "{line:#}");
    Audited {
        line,
        code: finished.status.code(),
    }
}

impl Audited {
    /// Asserts where connections go, through which proxy (`scheme://host:port`) and who resolves.
    pub fn assert_route(&self, route: &str, proxy: &str, resolves: &str) {
        let line = &self.line;
        assert_eq!(line["route"], route, "{line:#}");
        assert_eq!(line["resolves"], resolves, "{line:#}");
        let text = |key: &str| line["proxy"][key].as_str().unwrap_or_default().to_owned();
        let said = format!(
            "{}://{}:{}",
            text("scheme"),
            text("addr"),
            line["proxy"]["port"]
        );
        assert_eq!(said, proxy, "{line:#}");
    }

    /// Asserts that something leaks for certain, or that nothing does; the exit code says the same.
    pub fn assert_leak(&self, certain: bool) {
        assert_eq!(self.leaks(), certain, "{:#}", self.line);
        self.assert_code();
    }

    /// Asserts that the exit code says whether something leaks for certain.
    pub fn assert_code(&self) {
        let code = i32::from(self.leaks());
        assert_eq!(self.code, Some(code), "{:#}", self.line);
    }

    fn leaks(&self) -> bool {
        let leaks = self.line["leaks"].as_array().expect("leaks is a list");
        leaks.iter().any(|leak| leak["certain"] == true)
    }

    /// Everything that it says.
    #[must_use]
    pub fn text(&self) -> String {
        self.line.to_string()
    }
}
