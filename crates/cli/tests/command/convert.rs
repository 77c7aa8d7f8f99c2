use std::fs;
use std::path::Path;

use crate::{call_folder, callbox, copy, example, text};

/// Converts a session; returns the folder of both, the new session is in `new`.
fn converted(session: &Path, format: &str, code: i32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ran = callbox(&["convert", text(session), "--to", format, "--out", text(&folder.path().join("new"))]);
    assert_eq!(ran.code(), code, "{}{}", ran.stdout(), ran.stderr());
    folder
}

#[test]
fn a_converted_session_replays_to_the_same_lines() {
    let session = example("batch_decode");
    let original = callbox(&["replay", text(&session)]);
    let there = converted(&session, "safetensors", 0);
    let there = there.path().join("new");
    let back = converted(&there, "pt", 0);
    for session in [&there, &back.path().join("new")] {
        let ran = callbox(&["replay", text(session)]);
        assert_eq!((ran.stdout(), ran.code()), (original.stdout(), 0));
    }
}

#[test]
fn the_summary_tells_what_was_written_and_the_next_command() {
    let session = example("batch_decode");
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    let ran = callbox(&["convert", text(&session), "--to", "safetensors", "--out", text(&new)]);
    let lines: Vec<_> = ran.stdout().lines().collect();
    assert!(lines[0].starts_with("9 calls, "), "{}", ran.stdout());
    assert!(lines[0].contains(" files written as .safetensors and read back. "), "{}", ran.stdout());
    assert_eq!(*lines.last().unwrap(), format!("callbox replay --dir {}", text(&new)));
    assert_eq!((ran.code(), ran.stderr()), (0, ""));
}

#[test]
fn a_damaged_call_is_listed_and_ends_with_1() {
    let session = tempfile::tempdir().unwrap();
    copy(&example("batch_decode"), session.path());
    let call = call_folder(session.path(), "Wrapper.run_call0002");
    fs::write(call.join("inputs.pt"), "nothing like it").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    let arguments = ["convert", text(session.path()), "--to", "safetensors", "--out", text(&new)];
    let ran = callbox(&arguments);
    assert!(ran.stdout().starts_with("damaged   "), "{}", ran.stdout());
    assert!(ran.stdout().contains("\nNot as asked: 1 damaged and copied as they are.\n"), "{}", ran.stdout());
    assert_eq!(ran.code(), 1);
    fs::remove_dir_all(&new).unwrap();
    let report = callbox(&[&arguments[..], &["--json"]].concat());
    assert_eq!(report.json()["deviations"][0]["kind"], "damaged");
    assert_eq!(report.json()["summary"]["damaged"], 1);
    assert_eq!((&report.json()["exit_code"], report.code()), (&serde_json::json!(1), 1));
}

#[test]
fn what_stands_in_the_way_is_told_in_one_line() {
    let session = example("killed");
    let session = text(&session);
    let full = tempfile::tempdir().unwrap();
    fs::write(full.path().join("mine"), "").unwrap();
    let inside = format!("{session}/new");
    for (arguments, code, complaint) in [
        (
            vec!["convert", session, "--to", "pt", "--out", text(full.path())],
            2,
            ": not empty; give a folder that",
        ),
        (vec!["convert", session, "--to", "pt", "--out", &inside], 2, " lie inside each other; "),
        (
            vec!["convert", session, "--to", "pt", "--out", env!("CARGO_BIN_EXE_callbox")],
            2,
            ": not usable as a folder ",
        ),
        (vec!["convert", session, "--to", "zip", "--out", "/nothing"], 2, "invalid value 'zip'"),
        (vec!["convert", session, "--out", "/nothing"], 2, "--to <FORMAT>"),
        (vec!["convert", "/no/such/folder", "--to", "pt", "--out", "/nothing"], 3, "no such folder"),
        (vec!["convert", session, "--to", "pt", "--out", "/dev/null/new"], 2, "not usable as a folder"),
        (
            vec!["convert", session, "--to", "pt", "--out", "/proc/new"],
            3,
            "/proc/new is incomplete: failed to create ",
        ),
    ] {
        let ran = callbox(&arguments);
        assert!(ran.stderr().starts_with("callbox: error: "), "{arguments:?}: {}", ran.stderr());
        assert!(ran.stderr().contains(complaint), "{arguments:?}: {}", ran.stderr());
        assert_eq!((ran.code(), ran.stderr().lines().count()), (code, 1), "{arguments:?}: {}", ran.stderr());
    }
    assert!(!Path::new(&inside).exists());
}
