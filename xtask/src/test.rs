//! `cargo xtask test`: the tests, counted over all binaries.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Add;
use std::process::Stdio;

use crate::cargo::cargo;
use crate::cuda;

/// Tests of all binaries together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    announced: usize,
    passed: usize,
    failed: usize,
}

impl Tally {
    /// Takes one line of a test binary's output into account.
    fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("running ")
            && let Some((count, "test" | "tests")) = rest.split_once(' ')
        {
            self.announced += count.parse::<usize>().unwrap_or(0);
        } else if let Some((_, result)) = line.split_once("test result: ") {
            self.passed += number_before(result, " passed");
            self.failed += number_before(result, " failed");
        }
    }

    /// Counts the tests that were announced and never reported, because their binary died, as failed.
    fn with_missing_as_failed(self) -> Tally {
        let reported = self.passed + self.failed;
        Tally { failed: self.failed + self.announced.saturating_sub(reported), ..self }
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally {
            announced: self.announced + other.announced,
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
        }
    }
}

/// Writes the plain line that other programs read.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// What a run of the tests showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) tally: Tally,
    /// What did not run, as the tests say it themselves: `NAME: REASON`.
    pub(crate) not_run: Vec<String>,
}

impl Report {
    fn read(&mut self, line: &str) {
        self.tally.read(line);
        // It may stand behind the name of the test that is running.
        if let Some((_, what)) = line.trim_end().split_once(NOT_RUN) {
            self.not_run.push(what.to_owned());
        }
    }
}

impl Add for Report {
    type Output = Report;

    fn add(self, other: Report) -> Report {
        Report { tally: self.tally + other.tally, not_run: [self.not_run, other.not_run].concat() }
    }
}

/// Says what did not run; then the plain line that other programs read.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.not_run.iter().try_for_each(|what| writeln!(f, "{NOT_RUN}{what}"))?;
        self.tally.fmt(f)
    }
}

/// How the tests mark what they cannot do where they are.
const NOT_RUN: &str = "not run: ";

/// What `--props` stands for: the property tests that check the filter's logic and the crash-safe order.
const PROPS: [&str; 5] = ["-p", "callbox-tests", "--test", "all", "props::"];

/// Runs the tests, says what is wrong and ends with the plain line; tells whether all is well.
pub(crate) fn command(arguments: &[String]) -> bool {
    let (report, outcome) = run(&with_props_spelled_out(arguments));
    if let Err(message) = &outcome {
        eprintln!("error: {message}");
    }
    println!("{report}");
    outcome.is_ok()
}

fn with_props_spelled_out(arguments: &[String]) -> Vec<String> {
    let spelled_out = arguments.iter().flat_map(|argument| match argument.as_str() {
        "--props" => PROPS.map(str::to_owned).to_vec(),
        other => vec![other.to_owned()],
    });
    spelled_out.collect()
}

/// Runs the tests; their output goes through as it comes. The report holds whatever the outcome.
pub(crate) fn run(arguments: &[String]) -> (Report, Result<(), String>) {
    let mut report = Report::default();
    let finished = stream(arguments, &mut report);
    report.tally = report.tally.with_missing_as_failed();
    let outcome = finished.and_then(|success| judge(report.tally, success));
    (report, outcome)
}

fn stream(arguments: &[String], report: &mut Report) -> Result<bool, String> {
    let failed = |error: io::Error| format!("failed to run `cargo test`: {error}");
    let mut command = cargo(&["test", "--no-fail-fast"]);
    if !names_a_package(arguments) {
        command.args(["--workspace", "--exclude", cuda::PACKAGE]);
    }
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut lines = BufReader::new(child.stdout.take().expect("the output was asked to be piped"));
    let mut line = Vec::new();
    // Lines are bytes: a test may print anything.
    while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        io::stdout().write_all(&line).map_err(failed)?;
        report.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(child.wait().map_err(failed)?.success())
}

/// Tells whether the caller chose packages; `--workspace` would override the choice.
fn names_a_package(arguments: &[String]) -> bool {
    arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument.starts_with("-p") || argument.starts_with("--package"))
}

fn judge(tally: Tally, success: bool) -> Result<(), String> {
    match (tally, success) {
        (Tally { failed: 1.., .. }, _) => Err("tests failed".to_owned()),
        (_, false) => Err("`cargo test` failed outside of a test: see above".to_owned()),
        (Tally { announced: 0, .. }, true) => {
            Err("no test was selected: the filter or the package matches none".to_owned())
        }
        (_, true) => Ok(()),
    }
}

fn number_before(text: &str, word: &str) -> usize {
    text.split_once(word)
        .and_then(|(before, _)| before.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        tally.with_missing_as_failed()
    }

    #[test]
    fn binaries_are_added_up() {
        let output = "\
running 2 tests
test a ... ok
test b ... FAILED
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s

running 1 test
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        assert_eq!(tally(output).to_string(), "2 passed, 1 failed");
    }

    #[test]
    fn tests_of_a_binary_that_died_count_as_failed() {
        let dead = tally("running 3 tests\ntest a ... ok\n");
        assert_eq!(dead.to_string(), "0 passed, 3 failed");
        assert!(judge(dead, false).is_err());
    }

    #[test]
    fn what_did_not_run_is_kept_and_told_before_the_plain_line() {
        let mut report = Report::default();
        let output =
            "running 1 test\ntest a ... not run: a: no mount\nok\n\nnot run: b: no fork\nleft out: c\n";
        output.lines().for_each(|line| report.read(line));
        assert_eq!(report.to_string(), "not run: a: no mount\nnot run: b: no fork\n0 passed, 0 failed");
    }

    #[test]
    fn props_selects_the_property_tests_alone() {
        let arguments = ["--release", "--props", "--", "--nocapture"].map(str::to_owned);
        let spelled_out = with_props_spelled_out(&arguments);
        assert_eq!(spelled_out.join(" "), "--release -p callbox-tests --test all props:: -- --nocapture");
    }

    #[test]
    fn zero_tests_are_a_failure() {
        let output = "running 0 tests\ntest result: ok. 0 passed; 0 failed; 0 ignored; 9 filtered out\n";
        let message = judge(tally(output), true).unwrap_err();
        assert!(message.starts_with("no test was selected"), "{message}");
    }

    #[test]
    fn a_build_that_fails_is_no_success() {
        assert!(judge(tally(""), false).is_err());
        assert!(judge(tally("running 1 test\ntest result: ok. 1 passed; 0 failed"), true).is_ok());
    }

    #[test]
    fn a_chosen_package_keeps_the_workspace_out() {
        let names = |arguments: &[&str]| {
            names_a_package(&arguments.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())
        };
        assert!(names(&["-p", "callbox-core"]) && names(&["--package=callbox-core"]));
        assert!(!names(&["layout"]) && !names(&["--", "-p"]));
    }
}
