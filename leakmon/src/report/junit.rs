//! A report as JUnit's XML, as services that build and test show it: a failed test for each leak.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{
    Contents, Finding,
    words::{by_verdict, counted, named, sentence, unseen},
};

/// The whole report; `what` is the command, or the files, that it is about.
#[must_use]
pub fn text(contents: &Contents, what: &str) -> String {
    let mut suite = TestSuite::new(what);
    for finding in contents
        .findings
        .listed
        .iter()
        .filter(|finding| finding.leak)
    {
        suite.add_test_case(failed(finding));
    }
    let left_out = contents.findings.left_out;
    if left_out > 0 {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(format!("{} more", counted(left_out, "finding", "findings")));
        suite.add_test_case(case("other findings", "leakmon", status));
    }
    for program in &contents.programs.listed {
        if program.leaks == 0 && program.verdicts.leak == 0 {
            // The name is the same in every run, so that a history can be kept of it.
            let name = named(program.name.as_deref());
            let mut case = case("leaks nothing", name, TestCaseStatus::success());
            case.set_system_out(by_verdict(program.verdicts));
            suite.add_test_case(case);
        }
    }
    suite.add_test_case(nothing_lost(contents));
    let notes: Vec<String> = contents
        .findings
        .listed
        .iter()
        .filter(|finding| !finding.leak)
        .map(|finding| format!("note: {}", sentence(finding)))
        .chain(unseen(contents))
        .collect();
    if !notes.is_empty() {
        suite.set_system_out(notes.join("\n"));
    }
    let mut report = Report::new("leakmon");
    report.add_test_suite(suite);
    // What is left of an error once the text is made in memory: none.
    report.to_string().unwrap_or_default()
}

fn case(name: &str, program: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(program);
    case
}

fn failed(finding: &Finding) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    let mut proof: Vec<String> = finding
        .evidence
        .iter()
        .map(|piece| format!("{}: {}", piece.source, piece.detail))
        .collect();
    proof.push(format!("to stop it: {}", finding.advice));
    status
        .set_message(format!("{} [{}]", sentence(finding), finding.confidence))
        .set_type(finding.kind.clone())
        .set_description(proof.join("\n"));
    let name = format!("{}: {}", finding.kind, finding.name);
    case(&name, named(finding.program.as_deref()), status)
}

/// A report with something missing proves nothing of what is not in it.
fn nothing_lost(contents: &Contents) -> TestCase {
    let lost = contents.totals.lost;
    let status = if lost == 0 {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(format!(
            "{} lost on the way from the kernel: what they would have shown is not known",
            counted(lost, "event was", "events were")
        ));
        status
    };
    case("everything was seen", "leakmon", status)
}
