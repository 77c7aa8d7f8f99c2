//! `cargo xtask planted`: do the tests find the bugs that are planted for them?
//!
//! A bug is a place in the code that asks `planted::bug("name")`, which only builds with the feature `planted-bugs`
//! answer with yes. The table says which test has to fail then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cargo::{cargo, root};
use crate::cuda;

/// Turns the bugs on; of the core, which every package with a bug depends on.
const FEATURE: &str = "callbox-core/planted-bugs";
const VARIABLE: &str = "CALLBOX_PLANTED_BUG";
/// Builds of their own: a bug must not come into another one.
const TARGET: &str = "target/planted";

/// A bug, and the test that finds it.
#[derive(Clone, Copy, Debug)]
struct Row {
    bug: &'static str,
    package: &'static str,
    /// Name of the test binary: `lib` for the unit tests.
    binary: &'static str,
    /// Full name of the test.
    test: &'static str,
}

const fn row(bug: &'static str, package: &'static str, binary: &'static str, test: &'static str) -> Row {
    Row { bug, package, binary, test }
}

/// Tests on the simulated disk.
const CRASH: &str = "crash::every_state_that_a_crash_leaves_keeps_the_promises";
const FLUSHES: &str = "graphs::every_state_that_a_crash_leaves_shows_one_flush_and_the_last_one_that_ended";
const FAILING: &str =
    "failing::whatever_operation_fails_the_calls_are_as_without_a_recorder_and_recording_resumes";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("no_back_off", "callbox-core", "lib",
        "recorder::tests_of_failures::u11_while_the_disk_is_full_few_calls_are_tried_and_recording_resumes_when_space_returns"),
    row("never_resumes", "callbox-core", "lib",
        "recorder::tests_of_failures::u11_while_the_disk_is_full_few_calls_are_tried_and_recording_resumes_when_space_returns"),
    row("warnings_without_limit", "callbox-core", "lib",
        "warnings::tests::u16_five_warnings_a_minute_are_told_and_the_next_one_tells_how_many_were_not"),
    row("one_stream_is_waited_for", "callbox-core", "lib",
        "recorder::tests::u06_the_stream_of_every_storage_of_a_call_is_waited_for"),
    row("floor_ignored", "callbox-core", "lib", "recorder::tests_of_failures::u17_space_that_is_to_stay_free_is_not_taken"),
    row("journal_line_left_open", "callbox-isolate", "lib",
        "journal::tests::a_journal_that_is_cut_anywhere_loses_the_line_that_is_cut"),
    row("next_call_is_charged", "callbox-tests", "all",
        "isolation::a_death_is_charged_to_its_call_and_later_calls_find_the_object_as_it_was_before"),
    row("timeout_ignored", "callbox-isolate", "lib",
        "process::tests::what_a_process_started_ends_with_it"),
    row("exist_ok", "callbox-sink-fs", "lib", "sink::tests::u22_a_name_that_is_taken_is_never_shared"),
    row("no_newline_repair", "callbox-sink-fs", "lib",
        "line_file::tests::u07_a_line_that_another_writer_left_unfinished_is_closed_first"),
    row("line_before_file", "callbox-tests", "disk", CRASH),
    row("completed_before_outputs", "callbox-tests", "disk", CRASH),
    row("no_rename", "callbox-tests", "disk", CRASH),
    row("no_file_sync", "callbox-tests", "disk", CRASH),
    row("latest_files_are_read", "callbox-tests", "disk", FLUSHES),
    row("no_folder_sync", "callbox-tests", "disk", CRASH),
    row("no_line_sync", "callbox-tests", "disk", CRASH),
    row("two_writes_a_line", "callbox-tests", "disk", CRASH),
    row("failed_sync_retried", "callbox-tests", "disk", FAILING),
    row("short_line_stays", "callbox-tests", "disk", FAILING),
    row("temporary_stays", "callbox-tests", "disk", FAILING),
    row("leftovers_forgotten", "callbox-tests", "disk", FAILING),
    row("slot_stays", "callbox-tests", "disk", FAILING),
    row("completed_without_outputs", "callbox-tests", "disk", FAILING),
    row("reach_unchecked", "callbox-fuzz", "replayed", "kept_pickles_are_read_or_refused"),
    row("glob_braces", "callbox-fuzz", "replayed", "kept_patterns_take_what_the_plain_matcher_takes"),
    row("unchecked_product", "callbox-core", "lib", "layout::tests::sizes_that_overflow_are_refused"),
    row("reach_unchecked", "callbox-core", "lib", "layout::tests::u54_a_stride_of_zero_reaches_one_element"),
    row("crc_unchecked", "callbox-format-pt", "all", "damage::u56_a_flipped_bit_is_found_or_does_no_harm"),
    row("overlap_allowed", "callbox-format-pt", "all", "hostile::entries_do_not_overlap"),
    row("deflate_accepted", "callbox-format-pt", "all", "hostile::u53_a_compressed_entry_is_not_inflated"),
    row("storage_size_unchecked", "callbox-format-pt", "all", "hostile::a_storage_is_as_long_as_it_says"),
    row("links_followed", "callbox-sink-fs", "lib",
        "open::tests::u59_symbolic_links_are_refused_wherever_they_lead"),
    row("open_waits", "callbox-sink-fs", "lib", "open::tests::u63_a_fifo_is_refused_without_waiting"),
    row("last_key_wins", "callbox-sink-fs", "lib", "json::parse::tests::u58_what_python_does_not_write_is_refused"),
    row("depth_unlimited", "callbox-sink-fs", "lib", "json::parse::tests::u62_nesting_ends_at_128"),
    row("dump_dir_up", "callbox-sink-fs", "lib", "index::tests::a_path_in_a_line_is_a_name_and_never_a_way"),
    row("line_hash_not_compared", "callbox-sink-fs", "lib",
        "hash::tests::a_flipped_bit_of_a_line_breaks_its_seal_or_leaves_its_content"),
    row("hash_not_compared", "callbox-verify", "all", "damage::files_of_another_call_are_found_by_their_hash"),
    row("last_piece_not_hashed", "callbox-verify", "all",
        "damage::a_session_that_nobody_touched_is_whole_and_everything_of_it_is_compared"),
    row("unstable_not_marked", "callbox-verify", "all",
        "unstable::u23_memory_that_changes_while_it_is_written_marks_the_dump"),
    row("check_then_act", "callbox-models", "models", "u15_calls_are_never_more_than_allowed_in_any_order"),
    row("no_line_lock", "callbox-models", "models", "p16_lines_of_processes_stay_whole_in_any_order"),
    row("limits_synced_line_overwritten", "callbox-sink-fs", "lib",
        "limits_file::tests::the_last_line_that_is_synced_is_never_written_over"),
    row("limits_given_back_by_a_child", "callbox-core", "lib",
        "recorder::tests_of_failures::p13_a_child_gives_nothing_back_that_its_parent_took"),
    row("limits_unlocked", "callbox-models", "models", "p13_limits_that_are_shared_are_exact_in_any_order"),
    row("limits_changed_in_place", "callbox-sink-fs", "lib",
        "limits_file::tests::a_change_that_is_cut_or_flipped_anywhere_leaves_the_one_before"),
    row("lock_of_another_given_back", "callbox-models", "models", "p16_lines_of_processes_stay_whole_in_any_order"),
    row("child_uses_its_parents_state", "callbox-sink-fs", "fork",
        "children_forked_while_four_threads_record_go_on_recording"),
    row("token_of_the_id_alone", "callbox-tests", "processes",
        "shared_session::u22_eight_processes_of_one_id_in_namespaces_of_their_own_share_no_folder"),
    row("thread_that_stays", "callbox-tests", "processes",
        "signals::p11_no_signal_is_handled_no_thread_is_left_and_nothing_panics_at_any_level"),
    row("size_limit_forgotten", "callbox-tests", "processes",
        "signals::a_limit_on_the_size_of_files_does_not_end_an_application_that_keeps_to_it"),
    row("bad_value_panics", "callbox-tests", "processes",
        "environment::u10_u17_u30_bad_values_cost_one_warning_each_and_the_application_nothing"),
];

/// Plants every bug, or the one of this name, and runs its test.
pub(crate) fn command(only: Option<&str>) -> Result<(), String> {
    compare_with_code()?;
    let rows: Vec<Row> = ROWS.iter().copied().filter(|row| only.is_none_or(|only| only == row.bug)).collect();
    if rows.is_empty() {
        let only = only.unwrap_or_default();
        return Err(match cuda::planted_bugs().any(|bug| bug == only) {
            true => format!("`{only}` is one of `cargo xtask cuda`, which plants it with all of its own"),
            false => format!("there is no bug `{only}` in xtask/src/planted.rs"),
        });
    }
    let tests: Vec<_> = rows.iter().map(|row| (row.package, row.binary)).collect();
    let binaries = build(&tests, &[])?;
    let mut missed = Vec::new();
    for row in &rows {
        match try_bug(row, &binaries) {
            Ok(time) => println!("found in {:>4} ms  {:<28} by {}", time.as_millis(), row.bug, row.test),
            Err(message) => {
                println!("NOT FOUND         {:<28} {message}", row.bug);
                missed.push(row.bug);
            }
        }
    }
    println!("{} of {} planted bugs are found", rows.len() - missed.len(), rows.len());
    if missed.is_empty() { Ok(()) } else { Err(format!("not found: {}", missed.join(", "))) }
}

/// A bug without a row is never tried, and a row without a bug tries nothing. Those of the adapter for CUDA are rows of
/// `cargo xtask cuda`.
fn compare_with_code() -> Result<(), String> {
    let mut planted = Vec::new();
    find_bugs(&root().join("crates"), &mut planted)?;
    planted.sort();
    planted.dedup();
    let listed: Vec<&str> = ROWS.iter().map(|row| row.bug).chain(cuda::planted_bugs()).collect();
    let without_row: Vec<&String> = planted.iter().filter(|bug| !listed.contains(&bug.as_str())).collect();
    let without_bug: Vec<&&str> =
        listed.iter().filter(|bug| !planted.iter().any(|name| name == **bug)).collect();
    if without_row.is_empty() && without_bug.is_empty() {
        return Ok(());
    }
    Err(format!("bugs without a row: {without_row:?}; rows without a bug in the code: {without_bug:?}"))
}

fn find_bugs(folder: &Path, found: &mut Vec<String>) -> Result<(), String> {
    let failed = |error| format!("failed to read {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            find_bugs(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("core/src/planted.rs")
        {
            let text = fs::read_to_string(&path).map_err(failed)?;
            found.extend(bugs_of(&text).map(str::to_owned));
        }
    }
    Ok(())
}

fn bugs_of(text: &str) -> impl Iterator<Item = &str> {
    text.split("planted::bug(\"").skip(1).filter_map(|rest| rest.split('"').next())
}

/// A test binary that was built, and the folder to run it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binary {
    executable: PathBuf,
    folder: PathBuf,
}

impl Binary {
    /// Prepares one test, with a bug planted.
    pub(crate) fn command(&self, test: &str, bug: &str) -> Command {
        let mut command = Command::new(&self.executable);
        command.args([test, "--exact"]).env(VARIABLE, bug).current_dir(&self.folder);
        command
    }
}

/// Test binaries by package and name.
pub(crate) type Binaries = BTreeMap<(String, String), Binary>;

/// Builds tests, by package and binary, all at once, so that no package is built twice, with other features of its
/// dependencies; `features` are those that they need besides.
pub(crate) fn build(tests: &[(&str, &str)], features: &[&str]) -> Result<Binaries, String> {
    let output =
        build_command(tests, features).output().map_err(|error| format!("failed to start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("building with bugs planted failed: {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(binary_of).collect())
}

fn build_command(tests: &[(&str, &str)], features: &[&str]) -> Command {
    let mut command = cargo(&["test", "--quiet", "--no-run", "--message-format", "json-render-diagnostics"]);
    command
        .args(["--features", FEATURE, "--package", "callbox-core", "--target-dir"])
        .arg(root().join(TARGET))
        // Built once and read by nobody: both would take gigabytes.
        .envs([("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_DEV_DEBUG", "none")]);
    features.iter().for_each(|feature| {
        command.args(["--features", feature]);
    });
    let (packages, names): (BTreeSet<&str>, BTreeSet<&str>) = tests.iter().copied().unzip();
    packages.into_iter().for_each(|package| {
        command.args(["--package", package]);
    });
    for name in names {
        match name {
            "lib" => command.arg("--lib"),
            name => command.args(["--test", name]),
        };
    }
    command.stderr(Stdio::inherit());
    command
}

/// Reads what cargo says of one thing that it built; `None` where that is no test.
fn binary_of(message: &str) -> Option<((String, String), Binary)> {
    let after = |key: &str| message.split_once(&format!("\"{key}\":"))?.1.split('"').nth(1);
    let is_test = message.contains("\"test\":true},\"features\"");
    let (manifest, executable) = (Path::new(after("manifest_path")?), after("executable")?);
    if !is_test || !executable.contains(TARGET) {
        return None;
    }
    let package = message.split_once("\"package_id\":\"")?.1.split('"').next()?;
    let package = package.split_once('#')?.1.split('@').next()?;
    let target = message.split_once("\"target\":")?.1;
    let name = if target.starts_with("{\"kind\":[\"test\"]") {
        target.split_once("\"name\":\"")?.1.split('"').next()?
    } else {
        "lib"
    };
    let binary = Binary { executable: executable.into(), folder: manifest.parent()?.to_owned() };
    Some(((package.to_owned(), name.to_owned()), binary))
}

/// Finds the tests of a package that were built.
pub(crate) fn find<'a>(binaries: &'a Binaries, package: &str, name: &str) -> Result<&'a Binary, String> {
    let found = binaries.get(&(package.to_owned(), name.to_owned()));
    found.ok_or_else(|| format!("{package} has no tests `{name}`"))
}

/// Runs a bug's test with the bug planted; an error says that it did not fail as it should.
#[expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
fn try_bug(row: &Row, binaries: &Binaries) -> Result<Duration, String> {
    let mut command = find(binaries, row.package, row.binary)?.command(row.test, row.bug);
    let start = Instant::now();
    let output = command.output().map_err(|error| format!("failed to start {}: {error}", row.test))?;
    let time = start.elapsed();
    judge(&String::from_utf8_lossy(&output.stdout), row.test).map(|()| time)
}

/// Tells from a test run's output whether the test failed, and nothing else did.
pub(crate) fn judge(output: &str, test: &str) -> Result<(), String> {
    let count = |what: &str| output.matches(what).count();
    match (count("running 1 test\n"), count("test result: FAILED. 0 passed; 1 failed;")) {
        (1, 1) => Ok(()),
        (1, _) if count("test result: ok. 1 passed;") == 1 => Err(format!("{test} passes")),
        _ => Err(format!("{test} did not run: is it still called so? {}", output.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_of_the_code_has_a_row_and_every_row_a_bug() {
        compare_with_code().unwrap();
        let code = "if planted::bug(\"a\") {} else if x || planted::bug(\"b\") {}";
        assert_eq!(bugs_of(code).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_binary_is_known_by_what_cargo_says_of_it() {
        let message = |kind: &str, is_test: bool| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"package_id\":\"path+file:///a/tests#callbox-tests@0.1.0\",\
                 \"manifest_path\":\"/a/tests/Cargo.toml\",\"target\":{{\"kind\":[\"{kind}\"],\"crate_types\":[\"bin\"],\
                 \"name\":\"disk\",\"test\":true}},\"profile\":{{\"opt_level\":\"1\",\"test\":{is_test}}},\"features\":[],\
                 \"executable\":\"/a/target/planted/debug/deps/disk-1\",\"fresh\":true}}"
            )
        };
        let (key, binary) = binary_of(&message("test", true)).unwrap();
        assert_eq!(key, ("callbox-tests".to_owned(), "disk".to_owned()));
        assert_eq!(binary.folder, Path::new("/a/tests"));
        assert_eq!(binary_of(&message("lib", true)).unwrap().0.1, "lib");
        assert_eq!(binary_of(&message("test", false)), None);
    }

    #[test]
    fn only_a_test_that_ran_and_failed_has_found_a_bug() {
        let run = |result: &str| format!("\nrunning 1 test\n{result} 0 ignored;\n");
        assert_eq!(judge(&run("test result: FAILED. 0 passed; 1 failed;"), "t"), Ok(()));
        assert_eq!(judge(&run("test result: ok. 1 passed; 0 failed;"), "t"), Err("t passes".to_owned()));
        let none = "\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored;\n";
        assert!(judge(none, "t").unwrap_err().starts_with("t did not run"));
        assert!(judge("error: could not compile", "t").is_err());
    }
}
