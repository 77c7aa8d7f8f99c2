//! Processes that share the limits of their session take no more of them together than there is.

use std::fs;
use std::path::Path;
use std::thread;

use crate::progress::Stage;
use crate::session_lines::SessionLines;
use crate::workers::{LIFE, PROCESSES, Worker, calls, folder, names};

const SHARED: (&str, &str) = ("FLASHINFER_DUMP_LIMIT_SCOPE", "session");
/// The longest a call of a worker takes on disk: four times its line of a megabyte.
const LARGEST_CALL: u64 = 4 << 20;

/// Lets eight processes record, and waits for them.
fn run_eight(folder: &Path, calls: u64, variables: &[(&str, &str)]) {
    let calls = calls.to_string();
    let start = |name: &String| Worker::start_with(folder, &[], name, &[&calls], variables);
    let workers: Vec<_> = names().iter().map(start).collect();
    for worker in workers {
        assert!(worker.finish().values().all(|stage| *stage == Stage::Ended));
    }
}

/// Returns the folders of calls in a session, and the bytes of all files but that of the limits.
fn size_of(session: &Path) -> (u64, u64) {
    let (mut folders, mut bytes) = (0, fs::metadata(session.join("session.jsonl")).unwrap().len());
    for entry in fs::read_dir(session).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            folders += 1;
            let files = fs::read_dir(entry.path()).unwrap();
            bytes += files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
        }
    }
    (folders, bytes)
}

/// Returns the calls that a session's processes have used together, as it is told in `session.limits`.
fn counted(session: &Path) -> u64 {
    let text = fs::read_to_string(session.join("session.limits")).unwrap();
    let changes = text.lines().map(|line| line.split(' ').map(|number| number.parse().unwrap_or(u64::MAX)));
    let changes = changes.map(|mut numbers| (numbers.next(), numbers.next().unwrap()));
    changes.max().unwrap().1
}

#[test]
fn p13_eight_processes_share_a_limit_of_calls_and_reach_it_exactly() {
    let folder = folder();
    let allowed = PROCESSES as u64 * calls() / 2;
    let count = allowed.to_string();
    run_eight(folder.path(), calls(), &[SHARED, ("FLASHINFER_DUMP_MAX_COUNT", &count)]);
    let dumps = folder.path().join("dumps");
    let lines = SessionLines::read(&dumps);
    assert_eq!((lines.torn, lines.calls.len() as u64), (0, allowed));
    assert!(lines.calls.values().all(|statuses| *statuses == ["inputs_saved", "completed"]));
    assert_eq!(size_of(&dumps).0, allowed);
    println!(
        "figures: {PROCESSES} processes x {} calls share a limit of {allowed}: {allowed} recorded",
        calls()
    );

    // Whoever comes later finds it reached.
    run_eight(folder.path(), 1, &[SHARED, ("FLASHINFER_DUMP_MAX_COUNT", &count)]);
    assert_eq!(size_of(&dumps).0, allowed);
}

#[test]
fn p13_eight_processes_share_a_limit_of_bytes_and_never_pass_it() {
    let folder = folder();
    let allowed: u64 = 64 << 20;
    // 1/16 of 2^30 bytes.
    run_eight(folder.path(), calls(), &[SHARED, ("FLASHINFER_DUMP_MAX_SIZE_GB", "0.0625")]);
    let (folders, bytes) = size_of(&folder.path().join("dumps"));
    assert!(bytes <= allowed, "{bytes} bytes of {allowed}");
    assert!(bytes > allowed - LARGEST_CALL, "{bytes} bytes of {allowed}");
    println!(
        "figures: {PROCESSES} processes share a limit of {allowed} bytes: {bytes} written, in {folders} calls"
    );
}

#[test]
fn p13_processes_do_not_wait_for_each_other_s_disk_to_count() {
    let folder = folder();
    let calls = calls() / 10;
    run_eight(folder.path(), calls, &[SHARED, ("FLASHINFER_DUMP_DURABILITY", "system")]);
    let dumps = folder.path().join("dumps");
    let all = PROCESSES as u64 * calls;
    assert_eq!((size_of(&dumps).0, counted(&dumps)), (all, all));
}

#[test]
fn p13_children_share_the_limit_of_their_parent() {
    const CHILDREN: u64 = 4;
    let folder = folder();
    let each = calls() / 4;
    // Two threads, each child and each child's child make as many calls.
    let allowed = (2 + 2 * CHILDREN) * each / 2;
    let (count, each, children) = (allowed.to_string(), each.to_string(), CHILDREN.to_string());
    let variables = [SHARED, ("FLASHINFER_DUMP_MAX_COUNT", count.as_str())];
    Worker::start_with(folder.path(), &[], "parent", &[&each, "forks", &children], &variables).finish();
    assert_eq!(size_of(&folder.path().join("dumps")).0, allowed);
}

#[test]
fn p13_what_a_killed_process_had_taken_stays_counted_and_the_limit_is_never_passed() {
    let folder = folder();
    let dumps = folder.path().join("dumps");
    let allowed = 4 * calls();
    let count = allowed.to_string();
    let variables = [SHARED, ("FLASHINFER_DUMP_MAX_COUNT", count.as_str())];
    let kills = 20;
    for number in 0..kills {
        let workers = ["a", "b"].map(|name| {
            let name = format!("{name}{number}");
            Worker::start_with(folder.path(), &[], &name, &["1000000"], &variables)
        });
        thread::sleep(LIFE);
        for worker in workers {
            worker.kill();
        }
        assert!(size_of(&dumps).0 <= counted(&dumps), "after {number} kills");
    }
    let killed = size_of(&dumps).0;
    run_eight(folder.path(), calls(), &variables);
    let recorded = size_of(&dumps).0;
    assert!(recorded <= allowed, "{recorded} calls of {allowed}");
    assert_eq!(counted(&dumps), allowed, "calls that killed processes had taken are counted for good");
    // Each of them may have had one that is not on disk.
    assert!(recorded >= allowed - 2 * kills, "{recorded} calls of {allowed}");
    println!(
        "figures: {} processes killed while they share a limit of {allowed}: {killed} calls by then, {recorded} at the end",
        2 * kills
    );
}
