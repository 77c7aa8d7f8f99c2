//! However a process ends, the inputs of the call that it was in are there, and the rest is whole.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use callbox_core::{CallState, DumpSource, DumpedCall, Group, LoadedTensor};

const VICTIM: &str = env!("CARGO_BIN_EXE_victim");

fn victim(folder: &Path, ending: &str, format: &str) -> Command {
    let mut command = Command::new(VICTIM);
    command
        .arg(ending)
        .env("FLASHINFER_LOGLEVEL", "10")
        .env("FLASHINFER_DUMP_DIR", folder.join("dumps"))
        .env("FLASHINFER_LOGDEST", folder.join("logs/%i.log"))
        .env("FLASHINFER_DUMP_SAFETENSORS", format)
        .env("FLASHINFER_DUMP_MAX_COUNT", "2000")
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Lists the calls, and checks that each input can be read and holds what the call had.
fn read(folder: &Path) -> Vec<DumpedCall> {
    let source = callbox::open_session(&folder.join("dumps")).unwrap();
    let session = source.calls().unwrap();
    assert!(session.findings.is_empty(), "{:?}", session.findings);
    for call in &session.calls {
        let inputs = source.load(call, Group::Inputs).unwrap().unwrap();
        let Some(LoadedTensor::Whole(tensor)) = inputs.get("arg_0") else { panic!("{}", call.folder) };
        assert_eq!(tensor.shape(), [16]);
    }
    session.calls
}

#[track_caller]
fn check(ending: &str, expected: &CallState) {
    for format in ["0", "1"] {
        let folder = tempfile::tempdir().unwrap();
        victim(folder.path(), ending, format).status().unwrap();
        let calls = read(folder.path());
        let states: Vec<_> = calls.iter().map(|call| (call.function.name(), &call.state)).collect();
        assert_eq!(states, [("good", &CallState::Completed), ("bad", expected)], "{ending}");
    }
}

#[test]
fn an_abort_in_a_call_leaves_its_inputs_and_the_call_is_the_suspect() {
    check("abort", &CallState::InputsSaved);
}

#[test]
fn a_panic_in_a_call_is_recorded_as_failed() {
    check("panic", &CallState::Failed);
}

#[test]
fn an_error_of_a_call_is_recorded_as_failed() {
    check("error", &CallState::Failed);
}

#[test]
fn a_process_killed_in_a_call_leaves_its_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = victim(folder.path(), "hang", "0").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "in the call\n");
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    let calls = read(folder.path());
    assert_eq!(calls.len(), 2);
    assert!(calls[1].state.is_suspected_crash() && !calls[0].state.is_suspected_crash());
}

#[test]
fn a_thousand_calls_from_sixteen_threads_are_a_thousand_folders() {
    let folder = tempfile::tempdir().unwrap();
    let output = victim(folder.path(), "threads", "0").output().unwrap();
    let health = String::from_utf8(output.stdout).unwrap();
    assert!(health.contains("reached: 1001, endings: {Recorded: 1001}, faults: []"), "{health}");
    let calls = read(folder.path());
    let folders: HashSet<_> = calls.iter().map(|call| &call.folder).collect();
    let numbers: HashSet<_> = calls.iter().map(|call| call.call_sequence).collect();
    assert_eq!((calls.len(), folders.len(), numbers), (1001, 1001, (1..=1001).collect()));
    assert!(calls.iter().all(|call| call.state == CallState::Completed));
}
