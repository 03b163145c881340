//! What came of the cases, for the console.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Counts of the cases so far.
#[derive(Debug, Default)]
pub struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    /// Runs a case and says what came of it. A panic is a failure.
    pub fn case<T>(&mut self, name: &str, case: impl FnOnce() -> Result<T, String>) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(case)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("panicked")
                .to_owned())
        });
        match result {
            Ok(value) => {
                self.passed += 1;
                println!("VM PASS {name}");
                Some(value)
            }
            Err(why) => {
                self.failed += 1;
                println!("VM FAIL {name}: {}", why.trim().replace('\n', " | "));
                None
            }
        }
    }

    /// Whether nothing has failed so far.
    pub fn all_passed(&self) -> bool {
        self.failed == 0
    }

    /// The last line.
    pub fn end(&self) {
        println!(
            "VM RESULT kernel={} passed={} failed={}",
            rustix::system::uname().release().to_string_lossy(),
            self.passed,
            self.failed
        );
    }
}
