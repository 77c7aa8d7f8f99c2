//! `cargo xtask soak`: the large sizes of tests, which take minutes.
//!
//! A test that has a large size looks at `CALLBOX_SOAK` and says what it did in a line that begins with `figures: `.
//! A row here is all that another one needs.

use std::io::{self, BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Instant;

use crate::cargo::cargo;

const VARIABLE: &str = "CALLBOX_SOAK";
/// What a line of figures begins with.
const FIGURES: &str = "figures: ";

/// A test of a large size.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    package: &'static str,
    /// Name of the test binary.
    binary: &'static str,
    /// What the full names of its tests begin with; empty for all.
    tests: &'static str,
}

#[rustfmt::skip]
const ROWS: [Row; 6] = [
    Row { name: "crash", package: "callbox-tests", binary: "disk", tests: "crash::" },
    Row { name: "failing", package: "callbox-tests", binary: "disk", tests: "failing::" },
    Row { name: "processes", package: "callbox-tests", binary: "processes", tests: "shared_" },
    Row { name: "killed", package: "callbox-tests", binary: "processes", tests: "killed::" },
    Row { name: "threads", package: "callbox-tests", binary: "all", tests: "recording::limits::" },
    Row { name: "models", package: "callbox-models", binary: "models", tests: "" },
];

/// Runs every row, or those of this name, and prints their figures together at the end.
#[expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
pub(crate) fn command(only: Option<&str>) -> Result<(), String> {
    let rows: Vec<Row> = ROWS.into_iter().filter(|row| only.is_none_or(|only| only == row.name)).collect();
    if rows.is_empty() {
        let known = ROWS.map(|row| row.name).join(", ");
        return Err(format!("there is no `{}` in xtask/src/soak.rs, but {known}", only.unwrap_or_default()));
    }
    let (mut figures, mut failed) = (Vec::new(), Vec::new());
    for row in rows {
        println!("== {}", row.name);
        let start = Instant::now();
        let outcome = run(row, &mut figures);
        println!("== {}: {:.1} s", row.name, start.elapsed().as_secs_f64());
        if let Err(message) = outcome {
            println!("{}: {message}", row.name);
            failed.push(row.name);
        }
    }
    println!();
    figures.iter().for_each(|line| println!("{line}"));
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// Runs one row; its output goes through as it comes, and lines of figures are kept.
fn run(row: Row, figures: &mut Vec<String>) -> Result<(), String> {
    let broken = |error: io::Error| format!("failed to run `cargo test`: {error}");
    // The profile of tests is optimised, and keeps our own checks.
    let mut command = cargo(&["test", "--package", row.package, "--test", row.binary, row.tests]);
    command.args(["--", "--nocapture"]).env(VARIABLE, "1").stdout(Stdio::piped());
    let mut child = command.spawn().map_err(broken)?;
    let mut lines = BufReader::new(child.stdout.take().expect("the output was asked to be piped"));
    let (mut line, mut ran) = (Vec::new(), false);
    // Lines are bytes: a test may print anything.
    while lines.read_until(b'\n', &mut line).map_err(broken)? > 0 {
        io::stdout().write_all(&line).map_err(broken)?;
        let text = String::from_utf8_lossy(&line);
        figures.extend(figures_of(&text).map(str::to_owned));
        ran |= text.contains("test result: ok. ") && !text.contains("test result: ok. 0 passed");
        line.clear();
    }
    match child.wait().map_err(broken)?.success() {
        true if ran => Ok(()),
        true => Err("no test ran: is it still called so?".to_owned()),
        false => Err("its tests failed".to_owned()),
    }
}

/// The test harness may have begun the line with the test's name.
fn figures_of(line: &str) -> Option<&str> {
    line.find(FIGURES).map(|start| line[start + FIGURES.len()..].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_behind_what_the_harness_writes() {
        assert_eq!(figures_of("figures: crash states: 64\n"), Some("crash states: 64"));
        assert_eq!(figures_of("test a::b ... figures: x: 1 s\n"), Some("x: 1 s"));
        assert_eq!(figures_of("test a::b ... ok\n"), None);
    }
}
