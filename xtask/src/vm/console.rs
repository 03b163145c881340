//! What a virtual machine said on its serial console.

/// Lines of the console that are shown when not all is well.
const TAIL: usize = 30;

/// What was said.
#[derive(Debug, Default)]
pub struct Console {
    /// The cases, in order.
    pub cases: Vec<Case>,
    /// The last lines.
    pub tail: Vec<String>,
    result: Option<Counts>,
    release: String,
    /// The machine did not turn itself off in time.
    timed_out: bool,
}

/// A case and why it failed, if it did.
#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Why it failed.
    pub failure: Option<String>,
}

/// What the last line says.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    kernel: String,
    passed: usize,
    failed: usize,
}

impl Console {
    /// Reads the console of the machine that was to run the kernel of that release.
    pub fn read(text: &str, release: &str, timed_out: bool) -> Self {
        let mut console = Self {
            release: release.to_owned(),
            timed_out,
            ..Self::default()
        };
        for line in text.lines() {
            // Firmware and kernel may have written to the same line before.
            let Some((_, said)) = line.split_once("VM ") else {
                continue;
            };
            if let Some(name) = said.strip_prefix("PASS ") {
                console.cases.push(Case {
                    name: printable(name),
                    failure: None,
                });
            } else if let Some(failed) = said.strip_prefix("FAIL ") {
                let (name, why) = failed.split_once(": ").unwrap_or((failed, ""));
                console.cases.push(Case {
                    name: printable(name),
                    failure: Some(printable(why)),
                });
            } else if let Some(counts) = said.strip_prefix("RESULT ") {
                console.result = Counts::parse(counts);
            }
        }
        let lines: Vec<String> = text.lines().map(printable).collect();
        console.tail = lines[lines.len().saturating_sub(TAIL)..].to_vec();
        console
    }

    /// Cases that passed.
    pub fn passed(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| case.failure.is_none())
            .count()
    }

    /// What failed; a machine that did not come to its own end is one failure more.
    pub fn failed(&self) -> usize {
        self.cases.len() - self.passed() + usize::from(self.fault().is_some())
    }

    /// Whether everything ran and passed.
    pub fn is_good(&self) -> bool {
        self.passed() > 0 && self.failed() == 0
    }

    /// What is wrong with the run as a whole.
    pub fn fault(&self) -> Option<String> {
        let Some(counts) = &self.result else {
            return Some(if self.timed_out {
                "the machine was still running when its time was over".to_owned()
            } else {
                "the machine stopped before its tests were done".to_owned()
            });
        };
        if counts.kernel != self.release {
            return Some(format!("the machine ran {} instead", counts.kernel));
        }
        let failed = self.cases.len() - self.passed();
        if (counts.passed, counts.failed) != (self.passed(), failed) {
            return Some(format!(
                "the machine counted {} passed and {} failed: lines are missing",
                counts.passed, counts.failed
            ));
        }
        None
    }
}

impl Counts {
    /// Reads `kernel=RELEASE passed=N failed=M`.
    fn parse(text: &str) -> Option<Self> {
        let mut values = text.split_whitespace();
        let mut value = |key: &str| values.next()?.strip_prefix(key)?.strip_prefix('=');
        Some(Self {
            kernel: value("kernel")?.to_owned(),
            passed: value("passed")?.parse().ok()?,
            failed: value("failed")?.parse().ok()?,
        })
    }
}

/// Nothing that a console says gets at the terminal's controls.
fn printable(line: &str) -> String {
    line.chars()
        .filter(|c| !c.is_control() || *c == '\t')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\x1bcSeaBIOS\r\nBooting..VM PASS one\r\nVM PASS two\r\n[ 1.0] x\r\nVM RESULT kernel=6.1.0-1-amd64 passed=2 failed=0\r\n";

    fn read(text: &str) -> Console {
        Console::read(text, "6.1.0-1-amd64", false)
    }

    #[test]
    fn a_good_run() {
        let console = read(GOOD);
        assert_eq!(console.fault(), None);
        assert!(console.is_good());
        assert_eq!((console.passed(), console.failed()), (2, 0));
        assert_eq!(console.cases[0].name, "one");
    }

    #[test]
    fn a_failed_case() {
        let console =
            read("VM FAIL one: it: broke\x1b[2J\nVM RESULT kernel=6.1.0-1-amd64 passed=0 failed=1");
        assert_eq!(console.fault(), None);
        assert_eq!(console.cases[0].name, "one");
        assert_eq!(console.cases[0].failure.as_deref(), Some("it: broke[2J"));
        assert_eq!((console.passed(), console.failed()), (0, 1));
        assert!(!console.is_good());
    }

    #[test]
    fn a_run_without_its_own_end_is_a_failure() {
        let panic = read("VM PASS one\r\n[ 1.0] Kernel panic - not syncing");
        assert_eq!((panic.passed(), panic.failed()), (1, 1));
        assert!(!panic.is_good());
        assert!(panic.tail[1].contains("Kernel panic"));
        let hang = Console::read("VM PASS one\n", "6.1.0-1-amd64", true);
        assert!(hang.fault().unwrap().contains("time was over"));
        assert!(!read("").is_good());
    }

    #[test]
    fn missing_lines_and_other_kernels_are_failures() {
        assert!(!read("VM PASS one\nVM RESULT kernel=6.1.0-1-amd64 passed=2 failed=0").is_good());
        assert!(!read("VM RESULT kernel=6.1.0-1-amd64 passed=0 failed=0").is_good());
        assert!(!Console::read(GOOD, "6.12.1-amd64", false).is_good());
    }
}
