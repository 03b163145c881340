//! The first process of the virtual machines that `cargo xtask vm` boots: it sets up what a distribution would, runs
//! leakmon and programs that ask for names, compares, and turns the machine off.
//!
//! What it has to say goes to the console, one line each:
//! `VM PASS case`, `VM FAIL case: why`, and last `VM RESULT kernel=RELEASE passed=N failed=M`.

#![forbid(unsafe_code)]

mod ask;
mod cases;
mod guest;
mod machine;
mod report;

use std::process::ExitCode;

use report::Report;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        return ask::main();
    }
    let mut report = Report::default();
    // A panic must not end the machine's first process: the kernel would panic too, and say less.
    report.case("the machine is set up", machine::set_up);
    if report.all_passed() {
        cases::run(&mut report);
    }
    report.end();
    machine::power_off()
}
