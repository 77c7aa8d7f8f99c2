//! `cargo xtask mutants`: does a test fail when a line of the reader of `.pt` files or of the dump writer is changed?
//!
//! cargo-mutants changes one thing at a time in a copy of the tree and runs the tests of the packages concerned.
//! `.cargo/mutants.toml` says which changes are left out, and why.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cargo::{cargo, root};

/// Code whose tests are tried.
struct Part {
    name: &'static str,
    files: &'static [&'static str],
    /// Packages whose tests run for each change.
    tests: &'static [&'static str],
}

const PARTS: [Part; 2] = [
    Part { name: "format-pt", files: &["crates/format-pt/src/**/*.rs"], tests: &["callbox-format-pt"] },
    Part {
        name: "writer",
        files: &[
            "crates/core/src/budget.rs",
            "crates/core/src/dump.rs",
            "crates/core/src/gate.rs",
            "crates/core/src/limits.rs",
            "crates/core/src/recorder/*.rs",
            "crates/sink-fs/src/disk.rs",
            "crates/sink-fs/src/files/*.rs",
            "crates/sink-fs/src/leftovers.rs",
            "crates/sink-fs/src/limits_file.rs",
            "crates/sink-fs/src/line_file.rs",
            "crates/sink-fs/src/sink.rs",
            "crates/sink-fs/src/slot.rs",
            "crates/sink-fs/src/staged.rs",
            "crates/sink-fs/src/turn.rs",
        ],
        tests: &["callbox-core", "callbox-sink-fs", "callbox-tests"],
    },
];
/// Results of the last run of each part.
const OUTPUT: &str = "target/mutants";
/// Seconds after which tests that a change made endless count as failed; a run of all takes a tenth of it.
const TIMEOUT: &str = "300";
/// The share of changes that should be noticed, in hundredths.
const WANTED: usize = 90;

pub(crate) fn command(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    install()?;
    let mut too_few = Vec::new();
    for part in PARTS.iter().filter(|part| options.part.as_deref().is_none_or(|name| name == part.name)) {
        let output = root().join(OUTPUT).join(part.name);
        fs::create_dir_all(&output)
            .map_err(|error| format!("failed to make {}: {error}", output.display()))?;
        let status = part
            .command(&output, options.shard.as_deref())
            .status()
            .map_err(|error| format!("failed to start cargo-mutants: {error}"))?;
        let tally = Tally::read(&output.join("mutants.out"))?;
        // It ends with 2 for changes that were missed, and with 3 where tests had to be stopped.
        if !matches!(status.code(), Some(0 | 2 | 3)) {
            return Err(format!("cargo-mutants on {} ended early: {status}; so far {tally}", part.name));
        }
        println!("{}: {tally}", part.name);
        if tally.share() < WANTED {
            too_few.push(part.name);
        }
    }
    if too_few.is_empty() { Ok(()) } else { Err(format!("less than {WANTED} % in {}", too_few.join(", "))) }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// `k/n`: every n-th change, from the k-th on.
    shard: Option<String>,
    part: Option<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let place = match argument.as_str() {
                "--shard" => &mut options.shard,
                "--package" => &mut options.part,
                other => {
                    return Err(format!("`mutants` takes `--shard K/N` and `--package NAME`, not `{other}`"));
                }
            };
            *place = Some(arguments.next().ok_or_else(|| format!("`{argument}` takes a value"))?.clone());
        }
        let known = |name: &String| PARTS.iter().any(|part| part.name == name);
        match options.part.as_ref().filter(|name| !known(name)) {
            Some(name) => Err(format!("there is no part `{name}`: there are format-pt and writer")),
            None => Ok(options),
        }
    }
}

impl Part {
    fn command(&self, output: &Path, shard: Option<&str>) -> Command {
        let mut command = cargo(&["mutants", "--workspace", "--jobs", "1", "--no-times"]);
        command.args(["--timeout", TIMEOUT, "--output"]).arg(output);
        for file in self.files {
            command.args(["--file", file]);
        }
        command.arg("--test-package").arg(self.tests.join(","));
        if let Some(shard) = shard {
            command.args(["--shard", shard, "--sharding", "round-robin"]);
        }
        // Documentation's examples take longer than all tests, and say nothing that these do not.
        command.args(["--", "--lib", "--tests"]);
        command
    }
}

/// Installs cargo-mutants where it is missing.
fn install() -> Result<(), String> {
    let found = cargo(&["mutants", "--version"]).output().is_ok_and(|output| output.status.success());
    if found {
        return Ok(());
    }
    println!("cargo-mutants is missing: `cargo install cargo-mutants --locked` puts it beside cargo");
    crate::cargo::run(cargo(&["install", "cargo-mutants", "--locked"]), "installing cargo-mutants")
}

/// What became of the changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    caught: usize,
    missed: usize,
    /// Tests that ran on and on: noticed too.
    timed_out: usize,
    /// Changes that do not compile: not counted.
    unviable: usize,
}

impl Tally {
    fn read(folder: &Path) -> Result<Tally, String> {
        let count = |name: &str| {
            let path = folder.join(name);
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("failed to read {}: {error}", path.display()))?;
            Ok::<_, String>(text.lines().count())
        };
        Ok(Tally {
            caught: count("caught.txt")?,
            missed: count("missed.txt")?,
            timed_out: count("timeout.txt")?,
            unviable: count("unviable.txt")?,
        })
    }

    /// Returns the share that was noticed, in hundredths, rounded down.
    fn share(self) -> usize {
        let noticed = self.caught + self.timed_out;
        (100 * noticed).checked_div(noticed + self.missed).unwrap_or(100)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { caught, missed, timed_out, unviable } = self;
        write!(
            f,
            "{} % of the changes are noticed: {caught} caught, {timed_out} timed out, {missed} missed \
             ({unviable} do not compile)",
            self.share()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_for_ever_is_noticed_and_what_does_not_compile_is_not_counted() {
        let tally = Tally { caught: 88, missed: 10, timed_out: 2, unviable: 50 };
        assert_eq!(tally.share(), 90);
        assert_eq!(Tally::default().share(), 100);
        assert!(tally.to_string().starts_with("90 % of the changes are noticed: 88 caught"));
    }

    #[test]
    fn parts_and_shards_are_chosen_by_name() {
        let parse =
            |text: &str| Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let expected = Options { shard: Some("0/8".to_owned()), part: Some("writer".to_owned()) };
        assert_eq!(parse("--package writer --shard 0/8"), Ok(expected));
        for wrong in ["--shard", "--package core", "writer"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_files_that_are_changed_exist() {
        let folders = PARTS.iter().flat_map(|part| part.files).filter(|file| !file.contains('*'));
        for file in folders {
            assert!(root().join(file).is_file(), "{file}");
        }
    }
}
