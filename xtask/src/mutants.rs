//! `cargo xtask mutants`: does a test fail when a line of the reader of `.pt` files or of the dump writer is changed?
//!
//! cargo-mutants changes one thing at a time in a copy of the tree and runs the tests of the packages concerned.
//! `.cargo/mutants.toml` says which changes are left out, and why.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cargo::{cargo, root};

/// Code whose tests are tried.
struct Part {
    name: &'static str,
    files: &'static [&'static str],
    rounds: &'static [Round],
}

/// Tests that run for each change that the round before did not notice: quick ones first.
struct Round {
    /// Packages whose tests run.
    tests: &'static [&'static str],
    /// Seconds after which tests that a change made endless count as failed; a run of all takes a tenth of it.
    timeout: &'static str,
}

const PARTS: [Part; 2] = [
    Part {
        name: "format-pt",
        files: &["crates/format-pt/src/**/*.rs"],
        rounds: &[Round { tests: &["callbox-format-pt"], timeout: "60" }],
    },
    Part {
        name: "writer",
        files: &[
            "crates/core/src/budget.rs",
            "crates/core/src/dump/*.rs",
            "crates/core/src/gate.rs",
            "crates/core/src/limits.rs",
            "crates/core/src/recorder/*.rs",
            "crates/sink-fs/src/captured.rs",
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
        rounds: &[
            Round { tests: &["callbox-core", "callbox-sink-fs"], timeout: "60" },
            Round { tests: &["callbox-verify", "callbox-tests"], timeout: "600" },
        ],
    },
];
/// Results of the last run of each part.
const OUTPUT: &str = "target/mutants";
/// cargo-mutants' list of what no test noticed.
const MISSED: &str = "missed.txt";
/// Without symbols: linking is most of a change's time.
const PROFILE: &str = "mutants";
/// The share of changes that should be noticed, in hundredths.
const WANTED: usize = 90;

pub(crate) fn command(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    install()?;
    let mut too_few = Vec::new();
    for part in PARTS.iter().filter(|part| options.part.as_deref().is_none_or(|name| name == part.name)) {
        let tally = part.run(options.shard.as_deref())?;
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
    fn run(&self, shard: Option<&str>) -> Result<Tally, String> {
        let mut changes = Changes::Shard(shard);
        let mut sum = Tally::default();
        for (at, round) in self.rounds.iter().enumerate() {
            let output = root().join(OUTPUT).join(self.name).join(format!("round{}", at + 1));
            fs::create_dir_all(&output)
                .map_err(|error| format!("failed to make {}: {error}", output.display()))?;
            let status = self
                .command(round, &changes, &output)
                .status()
                .map_err(|error| format!("failed to start cargo-mutants: {error}"))?;
            let found = output.join("mutants.out");
            sum = sum.and(Tally::read(&found, &changes)?);
            // It ends with 2 for changes that were missed, and with 3 where tests had to be stopped.
            if !matches!(status.code(), Some(0 | 2 | 3)) {
                return Err(format!("cargo-mutants on {} ended early: {status}; so far {sum}", self.name));
            }
            println!("{}, round {}: {sum}", self.name, at + 1);
            if sum.missed == 0 {
                break;
            }
            changes = Changes::Named(lines(&found.join(MISSED))?);
        }
        Ok(sum)
    }

    fn command(&self, round: &Round, changes: &Changes<'_>, output: &Path) -> Command {
        let mut command = cargo(&["mutants", "--workspace", "--jobs", "1", "--no-times"]);
        command.args(["--profile", PROFILE, "--timeout", round.timeout, "--output"]).arg(output);
        command.args(changes.files(self).iter().flat_map(|file| ["--file", file]));
        command.arg("--test-package").arg(round.tests.join(","));
        match changes {
            Changes::Shard(None) => {}
            Changes::Shard(Some(shard)) => {
                command.args(["--shard", shard, "--sharding", "round-robin"]);
            }
            Changes::Named(names) => {
                command.args(names.iter().flat_map(|name| ["--re".to_owned(), exactly(name)]));
            }
        }
        // Documentation's examples take longer than all tests, and say nothing that these do not.
        command.args(["--", "--lib", "--tests"]);
        command
    }
}

/// What a round tries.
enum Changes<'a> {
    /// `k/n`: every n-th change, from the k-th on; all of them without.
    Shard(Option<&'a str>),
    /// By cargo-mutants' names: place and change.
    Named(Vec<String>),
}

impl Changes<'_> {
    /// Tells whether a change is one of them: cargo-mutants deletes fields of structs too, in all files that it is given,
    /// whatever names it is given.
    fn has(&self, name: &String) -> bool {
        match self {
            Changes::Shard(_) => true,
            Changes::Named(names) => names.contains(name),
        }
    }

    /// Returns the files that hold them, or patterns of these.
    fn files<'c>(&'c self, part: &Part) -> BTreeSet<&'c str> {
        match self {
            Changes::Shard(_) => part.files.iter().copied().collect(),
            Changes::Named(names) => names.iter().filter_map(|name| name.split(':').next()).collect(),
        }
    }
}

/// Returns a pattern that matches nothing but `name`.
fn exactly(name: &str) -> String {
    let mut pattern = String::from("^");
    for letter in name.chars() {
        // `\<` and `\>` are edges of words.
        if letter.is_ascii_punctuation() && !matches!(letter, '<' | '>') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('$');
    pattern
}

fn lines(path: &Path) -> Result<Vec<String>, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
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
    fn read(folder: &Path, changes: &Changes<'_>) -> Result<Tally, String> {
        let count = |name: &str| {
            let found = lines(&folder.join(name))?;
            Ok::<_, String>(found.iter().filter(|name| changes.has(name)).count())
        };
        Ok(Tally {
            caught: count("caught.txt")?,
            missed: count(MISSED)?,
            timed_out: count("timeout.txt")?,
            unviable: count("unviable.txt")?,
        })
    }

    /// Adds a later round, which tried what these missed.
    fn and(self, later: Tally) -> Tally {
        Tally {
            caught: self.caught + later.caught,
            timed_out: self.timed_out + later.timed_out,
            unviable: self.unviable + later.unviable,
            missed: later.missed,
        }
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
    fn what_a_later_round_notices_was_missed_by_the_one_before() {
        let first = Tally { caught: 60, missed: 40, timed_out: 1, unviable: 5 };
        let second = Tally { caught: 30, missed: 8, timed_out: 2, unviable: 0 };
        assert_eq!(first.and(second), Tally { caught: 90, missed: 8, timed_out: 3, unviable: 5 });
    }

    #[test]
    fn what_was_not_asked_for_is_not_counted() {
        let (asked, other) = ("a".to_owned(), "b".to_owned());
        let named = Changes::Named(vec![asked.clone()]);
        assert!(named.has(&asked) && !named.has(&other));
        assert!(Changes::Shard(None).has(&other));
        let name = |file: &str| format!("{file}:1:2: replace a with b");
        let named = Changes::Named(vec![name("b.rs"), name("a.rs"), name("b.rs")]);
        assert_eq!(named.files(&PARTS[0]).into_iter().collect::<Vec<_>>(), ["a.rs", "b.rs"]);
    }

    #[test]
    fn a_name_is_a_pattern_of_itself_alone() {
        assert_eq!(exactly("a.rs:1:2: replace + with <="), r"^a\.rs\:1\:2\: replace \+ with <\=$");
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
