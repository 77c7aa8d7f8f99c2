//! `cargo xtask ci`: everything that must hold, in the order in which mistakes are cheapest to find.

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use crate::cargo::{cargo, program, root, run};
use crate::test::{self, Report};
use crate::{cuda, interop, level_off, planted, readme, tidy};

/// The README's way to run the tests; the step `test` has done it by then.
const TEST_COMMAND: &str = "cargo xtask test";

/// Allows that tests do not run, where it says `allow`.
const NOT_RUN_VARIABLE: &str = "CALLBOX_NOT_RUN";

/// What the steps leave for each other and for the last line.
#[derive(Debug, Default)]
struct Progress {
    tests: Option<Report>,
}

type Step = fn(&mut Progress) -> Result<(), String>;

const STEPS: [(&str, Step); 11] = [
    ("fmt", |_| run(cargo(&["fmt", "--all", "--check"]), "`cargo fmt --check`")),
    ("clippy", |_| {
        let mut command = cargo(&["clippy", "--workspace", "--all-targets"]);
        // Their tests are there with this feature alone.
        command.args(["--features", "callbox-cuda-driver-tests/device", "--", "-D", "warnings"]);
        run(command, "`cargo clippy`")
    }),
    ("tidy", |_| tidy::run()),
    ("test", |progress| {
        let (report, outcome) = test::run(&[]);
        progress.tests = Some(report);
        outcome
    }),
    ("adapters", |progress| {
        // Features that the workspace's own builds leave off: building candle takes minutes.
        let arguments = ["-p", "callbox-values", "--all-features"].map(str::to_owned);
        let (report, outcome) = test::run(&arguments);
        progress.tests = progress.tests.take().map(|tests| tests + report);
        outcome
    }),
    ("doc", |_| {
        let mut command = cargo(&["doc", "--workspace", "--no-deps"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        run(command, "`cargo doc`")
    }),
    ("planted", |_| planted::command(None)),
    ("level-off", |_| level_off::command().map(|text| println!("{text}"))),
    ("cuda", |_| cuda::command(&[])),
    ("interop", |_| interop::run(&[])),
    ("readme", |_| run_readme()),
];

/// Runs every step up to the first failure; prints the times and, last, the plain line of the tests. Tells
/// whether all is well.
#[expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
pub(crate) fn command() -> bool {
    let mut progress = Progress::default();
    let mut times = Vec::new();
    let mut outcome = Ok(());
    for (name, step) in STEPS {
        println!("== {name}");
        let start = Instant::now();
        let result = step(&mut progress);
        let time = start.elapsed();
        println!("== {name}: {}{}", seconds(time), free_space());
        times.push((name, time));
        if let Err(message) = result {
            outcome = Err(format!("{name}: {message}"));
            break;
        }
    }
    println!("\n{}", table(&times));
    let tests = progress.tests.unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "whoever runs this says whether tests may be left out")]
    let may_be_left_out = env::var_os(NOT_RUN_VARIABLE).is_some_and(|value| value == "allow");
    let outcome = outcome.and_then(|()| judge_not_run(tests.not_run.len(), may_be_left_out));
    if let Err(message) = &outcome {
        eprintln!("error: {message}");
    }
    println!("{tests}");
    outcome.is_ok()
}

/// What is free where things are built, as a step that fails for want of it rarely says so.
fn free_space() -> String {
    let output = program("df").args(["-Pk", "."]).output().ok();
    let free = output.and_then(|output| free_kib(&String::from_utf8_lossy(&output.stdout)));
    free.map_or_else(String::new, |kib| format!(", {:.1} GiB are free", kib as f64 / f64::from(1 << 20)))
}

/// Reads the fourth column below the heading, as POSIX has it.
fn free_kib(output: &str) -> Option<u64> {
    output.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

/// A test that did not run has shown nothing, however green it looks.
fn judge_not_run(count: usize, may_be_left_out: bool) -> Result<(), String> {
    if count == 0 || may_be_left_out {
        return Ok(());
    }
    let message =
        format!("{count} times something did not run, see below; {NOT_RUN_VARIABLE}=allow lets it pass");
    Err(message)
}

fn run_readme() -> Result<(), String> {
    let path = root().join("README.md");
    let text = fs::read_to_string(&path).map_err(|error| format!("failed to read README.md: {error}"))?;
    for block in readme::marked_blocks(&text)? {
        if block.script == TEST_COMMAND {
            println!("README.md:{}: `{TEST_COMMAND}` has run as a step of its own", block.line);
            continue;
        }
        println!("README.md:{}: {}", block.line, block.script);
        let mut command = program("bash");
        command.args(["-euo", "pipefail", "-c", &block.script]);
        run(command, &format!("the block at README.md:{}", block.line))?;
    }
    Ok(())
}

fn table(times: &[(&str, Duration)]) -> String {
    let total = times.iter().map(|(_, time)| *time).sum();
    times
        .iter()
        .copied()
        .chain([("total", total)])
        .map(|(name, time)| format!("{name:<9} {:>8}\n", seconds(time)))
        .collect()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_fails_unless_that_is_allowed() {
        assert!(judge_not_run(0, false).is_ok() && judge_not_run(1, true).is_ok());
        assert!(judge_not_run(1, false).unwrap_err().ends_with("CALLBOX_NOT_RUN=allow lets it pass"));
    }

    #[test]
    fn free_space_is_the_fourth_column() {
        let output = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/x 100 60 40 60% /\n";
        assert_eq!((free_kib(output), free_kib("")), (Some(40), None));
    }

    #[test]
    fn the_times_add_up() {
        let times = [("fmt", Duration::from_millis(400)), ("test", Duration::from_millis(61_250))];
        assert_eq!(table(&times), "fmt          0.4 s\ntest        61.2 s\ntotal       61.6 s\n");
    }
}
