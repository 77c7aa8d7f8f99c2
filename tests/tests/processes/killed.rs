//! A process is killed: at every operation on files, at random moments, by its own fault. What it left is read again,
//! and written to again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use callbox_core::{Bytes, CallState, DumpSource, DumpedCall, Group, Session, SourceError, TensorSerializer};
use callbox_format_pt::PtSerializer;
use callbox_tests::{Random, given_seed, not_run, soaks};
use rustix::fs::statfs;
use tempfile::TempDir;

use crate::progress::{Progress, Stage, progress_of};

const KILLED_AT: &str = env!("CARGO_BIN_EXE_killed_at");
const WORKER: &str = env!("CARGO_BIN_EXE_worker");
const VICTIM: &str = env!("CARGO_BIN_EXE_victim");
/// What `statfs` says of a file system in memory.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// A folder on the disk that the build is on, and one in memory where there is one.
fn folders(test: &str) -> Vec<TempDir> {
    let mut folders = vec![TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()];
    let in_memory = Path::new("/dev/shm");
    let is_tmpfs = statfs(in_memory).is_ok_and(|stat| stat.f_type as u64 == TMPFS_MAGIC);
    match TempDir::new_in(in_memory) {
        Ok(folder) if is_tmpfs => folders.push(folder),
        Ok(_) => not_run(test, "/dev/shm is no tmpfs"),
        Err(error) => not_run(test, &format!("on a tmpfs: /dev/shm: {error}")),
    }
    folders
}

/// A session that a killed process left, and what else is needed to judge it.
struct Left<'a> {
    session: &'a Path,
    /// What is known to every call: its name where calls are told apart by it.
    what: String,
}

impl Left<'_> {
    fn list(&self) -> Session {
        match callbox::open_session(self.session) {
            Ok(source) => source.calls().unwrap(),
            // There is no folder yet, or nothing in it.
            Err(SourceError::NotFound(_) | SourceError::NotASession(_)) => Session::default(),
            Err(error) => panic!("{}: {error}", self.what),
        }
    }

    /// Checks one call against how far the program said that it came.
    fn check_call(&self, call: Option<&DumpedCall>, stage: Option<Stage>, ends: &CallState) {
        let state = call.map(|call| &call.state);
        let is_right = match (stage, state) {
            // It was not begun to be called: all that must not be is that it is said to have run.
            (None | Some(Stage::Begins), None | Some(CallState::NotStarted | CallState::InputsSaved)) => true,
            (None | Some(Stage::Begins), Some(CallState::Damaged { reason })) => {
                reason.contains("metadata.jsonl is missing") || reason.contains("holds no whole record")
            }
            (Some(Stage::Runs), Some(state)) => state.is_suspected_crash(),
            (Some(Stage::Returns), Some(state)) => {
                matches!(state, CallState::InputsSaved | CallState::OutputsUnconfirmed) || state == ends
            }
            (Some(Stage::Ended), Some(state)) => state == ends,
            _ => false,
        };
        assert!(is_right, "{}: the call was at {stage:?} and is listed as {state:?}", self.what);
        if let Some(call) = call.filter(|_| stage >= Some(Stage::Runs)) {
            self.check_tensors(call);
        }
    }

    /// Checks that the files that a call's state promises are there and whole.
    fn check_tensors(&self, call: &DumpedCall) {
        let source = callbox::open_session(self.session).unwrap();
        let load = |group| source.load(call, group).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        assert!(
            load(Group::Inputs)
                .is_some_and(|tensors| tensors.get("arg_0").or(tensors.get("arg_3")).is_some())
        );
        if call.state == CallState::Completed {
            assert!(load(Group::Outputs).is_some_and(|tensors| tensors.iter().count() == 1));
        }
    }

    /// Checks that no half file has its final name.
    fn check_files(&self) {
        let Ok(entries) = fs::read_dir(self.session) else { return };
        for folder in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
            for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if file.extension().is_some_and(|extension| extension == "pt") {
                    let bytes = Bytes::from(fs::read(&file).unwrap());
                    assert!(PtSerializer.decode(bytes).is_ok(), "{}: half of {}", self.what, file.display());
                }
            }
        }
    }
}

/// Runs the program that is killed at an operation; gives what it said.
fn kill_at(session: &Path, durability: &str, number: usize, moment: &str) -> PathBuf {
    let output = session.with_extension("out");
    Command::new(KILLED_AT)
        .args([session.as_os_str(), durability.as_ref(), number.to_string().as_ref(), moment.as_ref()])
        .stdout(File::create(&output).unwrap())
        .status()
        .unwrap();
    output
}

/// How each call of that program ends.
fn endings() -> BTreeMap<&'static str, CallState> {
    [
        ("first", CallState::Completed),
        ("failing", CallState::Failed),
        ("outer", CallState::Completed),
        ("inner", CallState::Completed),
    ]
    .into()
}

fn check_killed_at(session: &Path, durability: &str, number: usize, moment: &str, act: &str) {
    let progress = progress_of(&kill_at(session, durability, number, moment));
    let left = Left { session, what: format!("{durability}, killed {moment} operation {number} ({act})") };
    let listed = left.list();
    for (name, ends) in endings() {
        let call = listed.calls.iter().find(|call| call.function.name() == name);
        let by_folder = || listed.calls.iter().find(|call| call.folder.contains(&format!("_{name}_call")));
        left.check_call(call.or_else(by_folder), progress.get(name).copied(), &ends);
    }
    left.check_files();

    // The next process writes to the same session: its calls are whole, and nothing of the others is lost.
    kill_at(session, durability, usize::MAX, "before");
    let again = left.list();
    assert_eq!(again.calls.len(), listed.calls.len() + 4, "{}", left.what);
    for (before, now) in listed.calls.iter().zip(&again.calls) {
        assert_eq!((&before.folder, &before.state), (&now.folder, &now.state), "{}", left.what);
    }
    let states = again.calls[listed.calls.len()..].iter().map(|call| &call.state);
    assert!(states.eq([
        &CallState::Completed,
        &CallState::Failed,
        &CallState::Completed,
        &CallState::Completed
    ]));
}

#[test]
fn p1_to_p7_hold_when_a_process_is_killed_at_any_operation() {
    let mut kills = 0;
    for folder in folders("p1_to_p7_hold_when_a_process_is_killed_at_any_operation") {
        for durability in ["process", "system"] {
            let output = kill_at(&folder.path().join("whole"), durability, 0, "before");
            let output = fs::read_to_string(output).unwrap();
            let acts: Vec<_> = output.lines().filter_map(|line| line.strip_prefix("operation: ")).collect();
            assert!(acts.len() > 60, "{output}");
            for (place, act) in acts.iter().enumerate() {
                // Those that only look leave what the one before them left.
                let looks =
                    ["look at", "lock", "unlock", "read", "close"].iter().any(|word| act.starts_with(word));
                if looks && !soaks() {
                    continue;
                }
                let moments = if act.starts_with("write") { &["before", "halfway"][..] } else { &["before"] };
                for moment in moments {
                    let session = folder.path().join(format!("{durability}-{place}-{moment}"));
                    check_killed_at(&session, durability, place + 1, moment, act);
                    fs::remove_dir_all(&session).unwrap();
                    kills += 1;
                }
            }
        }
    }
    println!("figures: killed at {kills} operations");
}

#[test]
fn p16_u01_a_line_is_one_write_and_with_system_durability_everything_before_it_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    for durability in ["process", "system"] {
        let output =
            fs::read_to_string(kill_at(&folder.path().join(durability), durability, 0, "before")).unwrap();
        let (mut unsynced, mut in_lock) = (Vec::new(), 0);
        for line in output.lines() {
            let Some((act, what)) = line.strip_prefix("operation: ").and_then(|line| line.rsplit_once(' '))
            else {
                assert!(
                    durability == "process" || !line.starts_with("runs") || unsynced.is_empty(),
                    "{line}: {unsynced:?}"
                );
                continue;
            };
            match (act, what) {
                ("lock", _) => in_lock = 0,
                ("write", "session.jsonl" | "metadata.jsonl") => in_lock += 1,
                ("unlock", _) => assert_eq!(in_lock, 1, "one write a line"),
                _ => {}
            }
            match act {
                "write" => {
                    let line_comes_first = what.ends_with(".jsonl") && !unsynced.is_empty();
                    assert!(
                        durability == "process" || !line_comes_first,
                        "a line before {unsynced:?} is synced"
                    );
                    unsynced.push(what.to_owned());
                }
                "make the call's" | "rename to" => unsynced.push("names".to_owned()),
                "sync" | "sync a" => {
                    unsynced.retain(|file| file != if act == "sync" { what } else { "names" })
                }
                _ => {}
            }
        }
        let syncs = output.lines().filter(|line| line.starts_with("operation: sync")).count();
        assert_eq!(syncs > 0, durability == "system");
    }
}

/// The seed that is given, or one that no other run has.
fn seed() -> u64 {
    given_seed().unwrap_or_else(|| RandomState::new().hash_one(0))
}

/// Kills a worker after some time; gives its process id and what it said.
fn kill_after(session: &Path, time: Duration) -> (u64, Progress) {
    let output = session.with_extension("out");
    let mut child = Command::new(WORKER)
        .args(["random", "1000000"])
        .env("FLASHINFER_LOGLEVEL", "10")
        .env("FLASHINFER_LOGDEST", "/dev/null")
        .env("FLASHINFER_DUMP_DIR", session)
        .env("FLASHINFER_DUMP_MAX_COUNT", "1000000")
        .stdout(File::create(&output).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
    (child.id().into(), progress_of(&output))
}

#[test]
fn p1_to_p7_hold_when_a_process_is_killed_at_a_random_moment() {
    const IN_ONE_SESSION: usize = 5;
    let kills = if soaks() { 1_000 } else { 100 };
    let seed = seed();
    println!("CALLBOX_SEED={seed}");
    let mut random = Random::of(seed, &[]);
    let folders = folders("p1_to_p7_hold_when_a_process_is_killed_at_a_random_moment");
    let mut stages = BTreeMap::<Option<Stage>, usize>::new();
    for round in 0..kills / IN_ONE_SESSION {
        let session = folders[round % folders.len()].path().join(format!("{round}"));
        for _ in 0..IN_ONE_SESSION {
            let time = Duration::from_micros(1_000 + random.next() % 12_000);
            let (process, progress) = kill_after(&session, time);
            let left =
                Left { session: &session, what: format!("seed {seed}, round {round}, after {time:?}") };
            let listed = left.list();
            let mut mine: BTreeMap<u64, &DumpedCall> = BTreeMap::new();
            let is_mine = |call: &&DumpedCall| call.folder.contains(&format!("_pid{process}_"));
            mine.extend(listed.calls.iter().filter(is_mine).map(|call| (call.call_sequence, call)));
            let last = progress.len() as u64 + 1;
            assert!(mine.keys().all(|number| *number <= last), "{}", left.what);
            for number in 1..=last {
                let stage = progress.get(&number.to_string()).copied();
                left.check_call(mine.get(&number).copied(), stage, &CallState::Completed);
            }
            *stages.entry(progress.get(&progress.len().to_string()).copied()).or_default() += 1;
            left.check_files();
        }
        fs::remove_dir_all(&session).ok();
    }
    println!("figures: {kills} kills at random moments; the last call was at: {stages:?}");
}

#[test]
fn a_process_that_dies_by_its_own_fault_leaves_the_call_that_it_was_in() {
    for folder in folders("a_process_that_dies_by_its_own_fault_leaves_the_call_that_it_was_in") {
        for ending in ["abort", "segfault"] {
            let session = folder.path().join(ending);
            let status = Command::new(VICTIM)
                .arg(ending)
                .env("FLASHINFER_LOGLEVEL", "10")
                .env("FLASHINFER_LOGDEST", "/dev/null")
                .env("FLASHINFER_DUMP_DIR", &session)
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(status.code(), None, "{ending} is a signal");
            let left = Left { session: &session, what: ending.to_owned() };
            let calls = left.list().calls;
            left.check_call(calls.first(), Some(Stage::Ended), &CallState::Completed);
            left.check_call(calls.get(1), Some(Stage::Runs), &CallState::Completed);
        }
    }
}
