//! Do the tests of the kernels find the bugs that are planted for them?

use std::path::Path;
use std::process::Command;

use super::Steps;
use super::compiler::{Build, Compiler};
use super::tests;
use crate::cargo::program;

/// A bug of `kernels/planted.cuh`, and who finds it.
#[derive(Clone, Copy, Debug)]
struct Row {
    bug: &'static str,
    build: Build,
    /// Full name of the test; of the search for races there is only one.
    test: &'static str,
    /// What it has to say.
    told: &'static str,
}

const fn row(bug: &'static str, build: Build, test: &'static str, told: &'static str) -> Row {
    Row { bug, build, test, told }
}

const NORM: &str = "norm::rows_of_any_width_are_normed";

const ROWS: &[Row] = &[
    row(
        "BUG_WRONG_ROUNDING",
        Build::Plain,
        "conversions::values_are_rounded_as_the_reference_does_it",
        " as f16",
    ),
    row(
        "BUG_WRONG_HEAD",
        Build::Plain,
        "attention::each_query_head_reads_its_own_kv_head",
        "the reference has",
    ),
    row(
        "BUG_PAGE_OUT_OF_RANGE",
        Build::Addresses,
        "attention::pages_are_found_by_their_indices",
        "AddressSanitizer: heap-buffer-overflow",
    ),
    row("BUG_FORGOTTEN_ARGUMENT", Build::Plain, NORM, "kernel rmsnorm_f16 has parameters of"),
    row("BUG_DIVERGENT_BARRIER", Build::Plain, NORM, "divergent barrier in kernel rmsnorm_f16"),
    row("BUG_MISSING_BARRIER", Build::Threads, "", "data race"),
];

/// Plants each bug.
pub(super) fn run_all(compiler: &Compiler, runtime: &Path, steps: &mut Steps) -> Result<(), String> {
    ROWS.iter().try_for_each(|row| steps.run(row.bug, || row.plant(compiler, runtime)))
}

impl Row {
    /// Builds with the bug, and expects to be told of it.
    fn plant(self, compiler: &Compiler, runtime: &Path) -> Result<(), String> {
        let built = compiler.build(self.build, Some(self.bug))?;
        let mut command = match self.build {
            Build::Plain => tests(&built, None, Some(self.test)),
            Build::Addresses => tests(&built, Some(runtime), Some(self.test)),
            Build::Threads => program(&built.to_string_lossy()),
        };
        self.judge(&mut command)
    }

    fn judge(self, command: &mut Command) -> Result<(), String> {
        let output = command.output().map_err(|error| format!("failed to start the test: {error}"))?;
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let finder = if self.test.is_empty() { "the search for races" } else { self.test };
        if output.status.success() {
            return Err(format!("{finder} does not find it"));
        }
        match text.lines().find(|line| line.contains(self.told)) {
            Some(line) => {
                println!("found: {}", line.trim());
                Ok(())
            }
            None => Err(format!("{finder} failed, but not with `{}`:\n{text}", self.told)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = include_str!("../../../crates/kernels-cuda/kernels/planted.cuh");

    #[test]
    fn every_bug_of_the_header_is_planted_once() {
        let mut defined: Vec<&str> = HEADER
            .lines()
            .filter_map(|line| line.strip_prefix("#define ")?.split(' ').next())
            .filter(|name| name.starts_with("BUG_") && *name != "BUG_NONE")
            .collect();
        let mut planted: Vec<&str> = ROWS.iter().map(|row| row.bug).collect();
        defined.sort_unstable();
        planted.sort_unstable();
        assert_eq!(defined, planted);
    }
}
