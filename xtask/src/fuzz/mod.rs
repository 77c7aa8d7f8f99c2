//! `cargo xtask fuzz`: mutated inputs for every reader, guided by the code that they reach.
//!
//! libFuzzer is driven without cargo-fuzz: the pinned toolchain builds its instrumentation, and one binary has all
//! targets. What a machine lacks is named before anything is built.

mod build;
mod options;
mod outcome;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use self::build::Fuzzer;
use self::options::Options;
use self::outcome::Outcome;
use crate::cargo::root;

/// Inputs that were found go here, and are started from the next time.
const CORPUS: &str = "target/fuzz/corpus";
/// Inputs that a target fell over.
const CRASHES: &str = "target/fuzz/crashes";
/// Such inputs, made small: kept, and replayed by an ordinary test.
const REGRESSIONS: &str = "fuzz/regressions";
/// Inputs that reach different code, the few that reach most of it: kept as well.
const KEPT: &str = "fuzz/corpus";

/// libFuzzer looks at all memory of the process, in which the sanitizer has a share; what an input takes is counted
/// by the target itself.
const RESIDENT_MIB: u32 = 512;
/// A target counts the time that it was computing; this ends one that waits for ever.
const HANGS_AFTER: u32 = 20;

/// Fuzzes what the arguments ask for and prints a table of what was done.
pub(crate) fn command(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    let fuzzer = Fuzzer::build()?;
    let targets = options.choose(fuzzer.targets())?;
    if options.keep {
        return targets.iter().try_for_each(|target| keep(&fuzzer, target));
    }
    let queue = Mutex::new(targets.iter());
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some(target) = next(&queue) {
                    println!("fuzzing {target} for {} s", options.seconds);
                    let outcome = fuzz(&fuzzer, target, options.seconds);
                    outcomes.lock().expect("no holder panics").push((target.clone(), outcome));
                }
            });
        }
    });
    report(&outcomes.into_inner().expect("no holder panics"))
}

fn next<'a>(queue: &Mutex<std::slice::Iter<'a, String>>) -> Option<&'a String> {
    queue.lock().expect("no holder panics").next()
}

/// Runs one target for a while; what it falls over is made small and kept.
#[expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
fn fuzz(fuzzer: &Fuzzer, target: &str, seconds: u64) -> Result<Outcome, String> {
    let corpus = made(&root().join(CORPUS).join(target))?;
    let crashes = made(&root().join(CRASHES).join(target))?;
    let before = names(&crashes);
    let mut command = fuzzer.trying(target);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg("-print_final_stats=1")
        .arg(&corpus)
        .arg(fuzzer.seeds(target));
    for folder in [KEPT, REGRESSIONS] {
        command.args(existing(&root().join(folder).join(target)));
    }
    let start = Instant::now();
    let output = run(command)?;
    let seconds = start.elapsed().as_secs();
    let log = root().join("target/fuzz").join(format!("{target}.log"));
    fs::write(&log, &output).map_err(|error| format!("failed to write {}: {error}", log.display()))?;
    let mut outcome = Outcome::read(&output);
    outcome.seconds = seconds;
    for crash in names(&crashes).difference(&before) {
        outcome.kept.push(keep_crash(fuzzer, target, &crashes.join(crash))?);
    }
    if outcome.executions == 0 && outcome.kept.is_empty() {
        return Err(format!("{target} did not run: see {}", log.display()));
    }
    Ok(outcome)
}

/// Makes an input that a target falls over small, and keeps it where a test replays it.
fn keep_crash(fuzzer: &Fuzzer, target: &str, crash: &Path) -> Result<PathBuf, String> {
    let name = crash.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kept = made(&root().join(REGRESSIONS).join(target))?.join(&name);
    let mut command = fuzzer.command(target);
    command.args(["-minimize_crash=1", "-max_total_time=60"]);
    command.arg(format!("-exact_artifact_path={}", kept.display())).arg(crash);
    run(command)?;
    if !kept.exists() {
        // It is as small as it gets.
        fs::copy(crash, &kept).map_err(|error| format!("failed to keep {}: {error}", crash.display()))?;
    }
    Ok(kept)
}

/// Chooses the few inputs of all that were found that together reach as much code, and keeps them.
fn keep(fuzzer: &Fuzzer, target: &str) -> Result<(), String> {
    let found = root().join(CORPUS).join(target);
    let kept = root().join(KEPT).join(target);
    if kept.exists() {
        fs::remove_dir_all(&kept).map_err(|error| format!("failed to empty {}: {error}", kept.display()))?;
    }
    let kept = made(&kept)?;
    let mut command = fuzzer.trying(target);
    command.arg("-set_cover_merge=1").arg(&kept).arg(found).arg(fuzzer.seeds(target));
    let log = run(command)?;
    let count = names(&kept).len();
    if count == 0 {
        return Err(format!("nothing of {target} was kept:\n{log}"));
    }
    println!("{target}: {count} inputs in {KEPT}/{target}");
    Ok(())
}

/// Prints a line a target, and what is to be done about what was found.
fn report(outcomes: &[(String, Result<Outcome, String>)]) -> Result<(), String> {
    println!("\n{}", Outcome::HEAD);
    let mut wrong = Vec::new();
    for (target, outcome) in outcomes {
        match outcome {
            Ok(outcome) => {
                println!("{}", outcome.row(target));
                wrong.extend(
                    outcome.kept.iter().map(|kept| format!("{target} falls over {}", kept.display())),
                );
            }
            Err(message) => wrong.push(message.clone()),
        }
    }
    println!("lines of code are not counted: that takes the toolchain's own llvm-tools");
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Runs a target to its end; returns what it printed. How it ended shows in the files that it left.
fn run(mut command: Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("failed to start the fuzzing binary: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn made(folder: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(folder).map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
    Ok(folder.to_owned())
}

fn existing(folder: &Path) -> Option<PathBuf> {
    folder.is_dir().then(|| folder.to_owned())
}

fn names(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name().into()).collect()
}
