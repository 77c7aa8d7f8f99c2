//! A disk that is full, or is to stay free in part: a simulated one, and a real one of 128 KiB.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use callbox_core::{CallState, Ending};
use callbox_sink_fs::Durability;
use callbox_sink_fs::files::{Files, RealFiles};
use callbox_testkit::sim::SimDisk;
use callbox_tests::not_run;

use super::clock::{HandClock, MINUTE};
use super::notices::{MOST_IN_A_MINUTE, Notices};
use super::scenario::{Scenario, Shape, Way};
use super::verdict::check;

/// Where the small disk is, for the process that has one.
const SMALL_DISK: &str = "CALLBOX_SMALL_DISK";
/// Makes a small disk that this process alone sees, says so, and runs a program.
const ON_A_SMALL_DISK: &str =
    r#"mount -t tmpfs -o size=128k small "$1" && echo mounted && shift && exec "$@""#;
const TEST: &str =
    "small_disk::u11_on_a_disk_of_128_kib_every_call_returns_and_recording_resumes_when_space_returns";

/// Calls of 8 KiB in and 8 KiB out; four or five fill the small disk.
const CALLS: usize = 40;
/// A file of the user's, whose space returns.
const BALLAST: usize = 64 << 10;

fn scenario(durability: Durability, min_free_bytes: u64) -> Scenario {
    let is_plain = |scenario: &Scenario| {
        scenario.bytes == 8192
            && scenario.durability == durability
            && (scenario.shape, scenario.way, scenario.is_capped) == (Shape::One, Way::Returns, false)
    };
    let scenario = Scenario::all().into_iter().find(is_plain).unwrap();
    Scenario { min_free_bytes, ..scenario }
}

#[test]
fn no_call_is_dumped_into_space_that_is_to_stay_free() {
    let (disk, clock) = (SimDisk::default(), HandClock::default());
    let scenario = scenario(Durability::Process, 1 << 20);
    let recorder = scenario.recorder(&disk, 0, &clock, None);
    let ending = |number| scenario.call(&recorder, number, || {}).1;
    assert_eq!(ending(0), Ending::Recorded);
    disk.set_free_bytes((1 << 20) + 9000);
    let before = disk.tree();
    assert_eq!((ending(1), ending(2)), (Ending::LowSpace, Ending::LowSpace));
    assert_eq!(disk.tree(), before, "nothing of them is on disk");
    disk.set_free_bytes(2 << 20);
    clock.advance(MINUTE);
    assert_eq!(ending(3), Ending::Recorded, "recording resumes by itself");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the process with the disk is told where it is")]
fn u11_on_a_disk_of_128_kib_every_call_returns_and_recording_resumes_when_space_returns() {
    if let Some(disk) = env::var_os(SMALL_DISK) {
        return fill(&PathBuf::from(disk));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh"]);
    command.arg(folder.path()).arg(env::current_exe().unwrap()).args(["--exact", TEST, "--nocapture"]);
    command.env(SMALL_DISK, folder.path());
    let reason = match command.output() {
        Err(error) => format!("there is no `unshare`: {error}"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            if text.starts_with("mounted\n") {
                text.lines().filter(|line| line.starts_with("figures: ")).for_each(|line| println!("{line}"));
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
                return;
            }
            String::from_utf8_lossy(&output.stderr).trim().to_owned()
        }
    };
    not_run(TEST, &format!("no disk can be mounted here: {reason}"));
}

fn fill(disk: &Path) {
    for (durability, floor) in
        [(Durability::Process, 0), (Durability::System, 0), (Durability::Process, 24 << 10)]
    {
        let ballast = disk.join("ballast");
        fs::write(&ballast, vec![1; BALLAST]).unwrap();
        let session = disk.join("dumps");
        let figures = fill_once(&scenario(durability, floor), &session, &ballast);
        println!("figures: a disk of 128 KiB, {durability}, {floor} bytes to stay free: {figures}");
        fs::remove_dir_all(session).unwrap();
    }
}

/// Records until nothing fits, lets space return, and records again.
fn fill_once(scenario: &Scenario, session: &Path, ballast: &Path) -> String {
    let (clock, log) = (HandClock::default(), Arc::new(Notices::default()));
    let recorder = scenario.recorder_on(Arc::new(RealFiles), session, 0, &clock, Some(log.clone()));
    let call = |number: usize| {
        let (answer, ending) = scenario.call(&recorder, number, || {});
        assert_eq!(answer, scenario.expected_answer(number), "what a call returns is what it returns");
        ending
    };
    let endings: Vec<Ending> = (0..CALLS).map(call).collect();
    let recorded = endings.iter().take_while(|ending| **ending == Ending::Recorded).count();
    assert!((1..CALLS).contains(&recorded), "{endings:?}");
    assert!(!endings[recorded + 1..].contains(&Ending::Recorded), "{endings:?}");
    let warnings = log.count();
    assert!((1..=MOST_IN_A_MINUTE).contains(&warnings), "{warnings} warnings");
    check_folder(scenario, session, &endings);
    let free = RealFiles.open_folder(session).unwrap().free_bytes().unwrap();
    assert!(free >= scenario.min_free_bytes, "{free} bytes are free");

    fs::remove_file(ballast).unwrap();
    clock.advance(MINUTE);
    let endings = [endings, vec![call(CALLS), call(CALLS + 1)]].concat();
    assert_eq!(endings[CALLS..], [Ending::Recorded, Ending::Recorded]);
    check_folder(scenario, session, &endings);
    let lost = CALLS - recorded;
    format!(
        "{} calls returned, {recorded} recorded, {lost} lost, {warnings} warnings, 2 recorded again",
        CALLS + 2
    )
}

/// Checks that what was counted as recorded can be read, and that there is nothing else.
fn check_folder(scenario: &Scenario, session: &Path, endings: &[Ending]) {
    let seen = check(scenario, session).unwrap();
    let mut numbers = BTreeSet::new();
    for (number, call) in &seen.calls {
        let number = number.unwrap_or_else(|| panic!("{} is nobody's: {:?}", call.folder, call.state));
        let is_right = match endings[number] {
            Ending::Recorded => call.state == CallState::Completed,
            Ending::OutputsSkipped => call.state == CallState::OutputsSkipped,
            // Its inputs fitted, and of its last lines at most the first.
            Ending::Unfinished => call.state.damage().is_none(),
            _ => false,
        };
        assert!(is_right, "call {number} is counted as {} and {:?} on disk", endings[number], call.state);
        numbers.insert(number);
        for file in fs::read_dir(session.join(&call.folder)).unwrap() {
            let name = file.unwrap().file_name();
            assert!(!name.to_string_lossy().starts_with('.'), "{name:?} was left in {}", call.folder);
        }
    }
    for (number, ending) in endings.iter().enumerate().filter(|(_, ending)| **ending == Ending::Recorded) {
        assert!(numbers.contains(&number), "call {number} is counted as {ending} and not there");
    }
}
