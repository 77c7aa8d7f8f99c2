//! Do the tests of the kernels, and of the Rust side, find the bugs that are planted for them?
//!
//! Those of the kernels are built one by one; those of the Rust side all at once, and one of them is there when a test runs.

use std::path::Path;
use std::process::Command;

use super::compiler::{Build, Compiler};
use super::driver::PACKAGE;
use super::{LIBRARY_VARIABLE, Steps};
use crate::cargo::program;
use crate::planted::{self, Binaries};

/// What finds a bug, by its number in `crates/kernels-cuda/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rung {
    Numbers = 2,
    Sanitizers = 3,
    FakeDriver = 4,
}

/// Where a bug is planted, and what its test is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the kernels, by `kernels/planted.cuh`.
    Kernels(Build),
    /// In the Rust side, by `planted::bug`; the tests of this binary find it.
    Rust(&'static str),
}

/// A bug, and who finds it.
#[derive(Clone, Copy, Debug)]
struct Row {
    bug: &'static str,
    rung: Rung,
    place: Place,
    /// Full name of the test; of the search for races there is only one.
    test: &'static str,
    /// What it has to say.
    told: &'static str,
}

const fn row(bug: &'static str, rung: Rung, place: Place, test: &'static str, told: &'static str) -> Row {
    Row { bug, rung, place, test, told }
}

const PLAIN: Place = Place::Kernels(Build::Plain);
const ADDRESSES: Place = Place::Kernels(Build::Addresses);
const THREADS: Place = Place::Kernels(Build::Threads);
/// The tests of the fake driver without kernels, and those with.
const ALL: Place = Place::Rust("all");
const DEVICE: Place = Place::Rust("device");

const NORM: &str = "norm::rows_of_any_width_are_normed";
const UPLOAD: &str = "staging::what_is_uploaded_comes_back";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("BUG_WRONG_ROUNDING", Rung::Numbers, PLAIN,
        "conversions::values_are_rounded_as_the_reference_does_it", " as f16"),
    row("BUG_WRONG_HEAD", Rung::Numbers, PLAIN,
        "attention::each_query_head_reads_its_own_kv_head", "the reference has"),
    row("BUG_FORGOTTEN_ARGUMENT", Rung::Numbers, PLAIN, NORM, "kernel rmsnorm_f16 has parameters of"),
    row("BUG_PAGE_OUT_OF_RANGE", Rung::Sanitizers, ADDRESSES,
        "attention::pages_are_found_by_their_indices", "AddressSanitizer: heap-buffer-overflow"),
    row("BUG_DIVERGENT_BARRIER", Rung::Sanitizers, PLAIN, NORM, "divergent barrier in kernel rmsnorm_f16"),
    row("BUG_MISSING_BARRIER", Rung::Sanitizers, THREADS, "", "data race"),
    row("copy_not_waited_for", Rung::FakeDriver, ALL, UPLOAD, "the bytes that were uploaded"),
    row("copied_while_capturing", Rung::FakeDriver, ALL,
        "capture::nothing_is_waited_for_and_the_capture_goes_on",
        "called while the stream captures: [\"cuEventSynchronize\", \"cuMemcpyDtoHAsync_v2\"]"),
    row("capture_mode_kept", Rung::FakeDriver, ALL,
        "capture::first_statistics_on_another_thread_leave_a_capture_alone", "the capture is spoiled"),
    row("argument_forgotten", Rung::FakeDriver, DEVICE,
        "executor::norms_are_the_cpu_s", "bytes of the parameters of rmsnorm_f16"),
    row("device_memory_leaked", Rung::FakeDriver, ALL, UPLOAD, "left: cuMemAllocAsync 1 times, cuMemFreeAsync 0 times"),
    row("pinned_memory_leaked", Rung::FakeDriver, ALL, UPLOAD, "left: cuMemHostAlloc 2 times, cuMemFreeHost 1 times"),
    row("event_leaked", Rung::FakeDriver, ALL, UPLOAD, "cuEventCreate 4 times, cuEventDestroy_v2 3 times"),
];

/// Lists the bugs of the Rust side.
pub(crate) fn planted_bugs() -> impl Iterator<Item = &'static str> {
    ROWS.iter().filter(|row| matches!(row.place, Place::Rust(_))).map(|row| row.bug)
}

/// What is built once for all bugs.
struct Built<'a> {
    compiler: &'a Compiler,
    /// The sanitizer's.
    runtime: &'a Path,
    /// The kernels without a bug.
    plain: &'a Path,
    rust: Binaries,
}

/// Plants each bug.
pub(super) fn run_all(
    compiler: &Compiler,
    plain: &Path,
    runtime: &Path,
    steps: &mut Steps,
) -> Result<(), String> {
    let rust = steps.run("build with bugs planted", || {
        let feature = format!("{PACKAGE}/device");
        planted::build(&[(PACKAGE, "all"), (PACKAGE, "device")], &[&feature])
    })?;
    let built = Built { compiler, runtime, plain, rust };
    ROWS.iter().try_for_each(|row| steps.run(&row.name(), || row.plant(&built)))?;
    println!("{} planted bugs are found", ROWS.len());
    Ok(())
}

impl Row {
    fn name(self) -> String {
        format!("{}: finds {}", self.rung as u8, self.bug)
    }

    /// Builds with the bug where it is not built, and expects to be told of it.
    fn plant(self, built: &Built<'_>) -> Result<(), String> {
        let mut command = match self.place {
            Place::Kernels(build) => {
                let library = built.compiler.build(build, Some(self.bug))?;
                match build {
                    Build::Plain => super::tests(&library, None, Some(self.test)),
                    Build::Addresses => super::tests(&library, Some(built.runtime), Some(self.test)),
                    Build::Threads => program(&library.to_string_lossy()),
                }
            }
            Place::Rust(binary) => {
                let mut command = planted::find(&built.rust, PACKAGE, binary)?.command(self.test, self.bug);
                command.env(LIBRARY_VARIABLE, built.plain);
                command
            }
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
                println!("found by rung {}, {finder}: {}", self.rung as u8, line.trim());
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
        let of_kernels = ROWS.iter().filter(|row| matches!(row.place, Place::Kernels(_)));
        let mut planted: Vec<&str> = of_kernels.map(|row| row.bug).collect();
        defined.sort_unstable();
        planted.sort_unstable();
        assert_eq!(defined, planted);
    }
}
