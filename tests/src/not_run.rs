//! Tests that cannot run where they are.

use std::io::{self, Write};

/// Says by name that a test did not run, and why: the system forbids what it needs. The test passes then, and
/// `cargo xtask ci` does not, unless it is told to allow it.
///
/// It says so on standard output itself: what a passing test prints is kept back.
pub fn not_run(test: &str, reason: &str) {
    let line = format!("not run: {test}: {}\n", reason.trim().replace('\n', " "));
    io::stdout().write_all(line.as_bytes()).ok();
}
