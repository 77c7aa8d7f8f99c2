use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{call_folder, callbox, copy, example, text};

/// A copy of a recorded session, and a call of it.
fn session() -> (TempDir, PathBuf) {
    let session = tempfile::tempdir().unwrap();
    copy(&example("batch_decode"), session.path());
    let call = call_folder(session.path(), "Wrapper.run_call0002");
    (session, call)
}

/// Says of a call's inputs, in all of its records and the session's, what callbox's own recorder says of files.
fn add_files(session: &Path, call: &Path, file: &str) {
    let name = call.file_name().unwrap().to_str().unwrap();
    for path in [session.join("session.jsonl"), call.join("metadata.jsonl")] {
        let lines = fs::read_to_string(&path).unwrap();
        let lines = lines.lines().map(|line| match line.contains(name) {
            true => {
                format!("{}, \"tensor_files\": {{\"inputs.pt\": {{{file}}}}}}}\n", &line[..line.len() - 1])
            }
            false => format!("{line}\n"),
        });
        fs::write(path, lines.collect::<String>()).unwrap();
    }
}

#[test]
fn a_whole_session_ends_with_0_and_says_what_could_not_be_told() {
    let session = example("batch_decode");
    let ran = callbox(&["verify", text(&session)]);
    let expected = "9 calls, 14 files of 207 KiB, 36 records: nothing is damaged.\n\
                    Nothing to compare with: 14 files without a hash, 36 records without a hash.\n";
    assert_eq!((ran.stdout(), ran.stderr(), ran.code()), (expected, "", 0));
    let call = call_folder(&session, "Wrapper.run_call0002");
    let ran = callbox(&["verify", text(&call)]);
    assert!(ran.stdout().starts_with("1 call, 2 files of "), "{}", ran.stdout());
    assert_eq!((ran.stderr(), ran.code()), ("", 0));
}

#[test]
fn each_damaged_file_is_named_with_its_place_and_the_code_is_1() {
    let (session, call) = session();
    let inputs = call.join("inputs.pt");
    let mut bytes = fs::read(&inputs).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&inputs, bytes).unwrap();
    fs::remove_file(call.join("outputs.pt")).unwrap();
    let metadata = call.join("metadata.jsonl");
    let lines = fs::read_to_string(&metadata).unwrap();
    fs::write(&metadata, &lines[..lines.len() - 40]).unwrap();

    let ran = callbox(&["verify", text(session.path())]);
    let lines: Vec<_> = ran.stdout().lines().collect();
    let name = call.file_name().unwrap().to_str().unwrap();
    assert_eq!(lines[0], format!("damaged  #4  {name}"));
    assert!(lines[1].starts_with("  metadata.jsonl  line 2: cut off, column "), "{}", ran.stdout());
    assert!(
        lines.iter().any(|line| line.starts_with("  inputs.pt       checksum of `data/")),
        "{}",
        ran.stdout()
    );
    assert!(ran.stdout().contains(" are damaged or missing.\n"), "{}", ran.stdout());
    assert_eq!(*lines.last().unwrap(), format!("callbox show {} 4", text(session.path())));
    assert_eq!(ran.code(), 1);

    let report = callbox(&["verify", text(session.path()), "--json"]);
    let json = report.json();
    assert_eq!((&json["exit_code"], report.code()), (&serde_json::json!(1), 1));
    let damage = &json["damages"][0];
    assert_eq!((&damage["number"], &damage["folder"]), (&serde_json::json!(4), &serde_json::json!(name)));
    assert_eq!((&damage["file"], &json["summary"]["calls"]), (&"metadata.jsonl".into(), &9.into()));
}

#[test]
fn a_file_that_is_not_the_recorded_one_is_damaged_for_verify_and_for_replay() {
    let (session, call) = session();
    let len = fs::metadata(call.join("inputs.pt")).unwrap().len();
    let other = "0".repeat(32);
    add_files(session.path(), &call, &format!("\"bytes\": {len}, \"hash\": \"xxh3:{other}\""));
    let ran = callbox(&["verify", text(session.path())]);
    let reason = format!(" where xxh3:{other} was written: damaged, or another call's file\n");
    assert!(ran.stdout().contains("\n  inputs.pt  its hash is xxh3:") && ran.stdout().contains(&reason));
    assert_eq!(ran.code(), 1);
    let ran = callbox(&["replay", text(session.path())]);
    assert!(ran.stdout().contains("its hash is xxh3:"), "{}", ran.stdout());
    assert_eq!(ran.code(), 1);

    let (session, call) = self::session();
    add_files(session.path(), &call, &format!("\"bytes\": {}", len + 1));
    let ran = callbox(&["verify", text(session.path())]);
    let reason = format!("its size is {len} bytes where {} bytes was written: ", len + 1);
    assert!(ran.stdout().contains(&reason), "{}", ran.stdout());
}

#[test]
fn unstable_tensors_are_told_by_every_command_and_are_no_damage() {
    let (session, call) = session();
    let len = fs::metadata(call.join("inputs.pt")).unwrap().len();
    add_files(session.path(), &call, &format!("\"bytes\": {len}, \"unstable\": true"));
    let dir = text(session.path());
    let ran = callbox(&["verify", dir]);
    assert!(ran.stdout().contains("\nUnstable: 1 file whose tensors changed while they were written.\n"));
    assert_eq!(ran.code(), 0);
    let ran = callbox(&["list", dir]);
    assert!(ran.stdout().contains("  completed, unstable  "), "{}", ran.stdout());
    assert!(ran.stdout().contains(", 1 unstable."), "{}", ran.stdout());
    let note =
        "inputs.pt: tensors changed while they were written: the file may hold what none of them ever was";
    for arguments in [&["show", dir, "4"][..], &["replay", dir]] {
        let ran = callbox(arguments);
        let told = format!("{}{}", ran.stdout(), ran.stderr());
        assert!(told.contains(note), "{arguments:?}: {told}");
        assert_eq!(ran.code(), 0, "{arguments:?}");
    }
}

#[test]
fn where_nothing_can_be_checked_the_code_says_so() {
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("session.jsonl"), "").unwrap();
    let ran = callbox(&["verify", text(empty.path())]);
    assert_eq!(
        (ran.stdout(), ran.code()),
        ("0 calls, 0 files of 0 B, 0 records: there was nothing to check.\n", 4)
    );
    let ran = callbox(&["verify", "/no/such/folder"]);
    assert!(ran.stderr().starts_with("callbox: error: /no/such/folder: no such folder"), "{}", ran.stderr());
    assert_eq!((ran.code(), callbox(&["verify"]).code()), (3, 2));
}
