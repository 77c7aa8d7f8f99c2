use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use callbox_core::{Bytes, LoadedTensor, TensorGroup, TensorSerializer};
use callbox_format_pt::PtSerializer;

use crate::{call_folder, callbox, copy, example, run, text};

/// Adds one to an element of a recorded result.
fn change_result(call: &Path) {
    let path = call.join("outputs.pt");
    let tensors = PtSerializer.decode(Bytes::from(fs::read(&path).unwrap())).unwrap();
    let changed: Vec<_> = tensors
        .iter()
        .map(|(key, tensor)| {
            let LoadedTensor::Whole(tensor) = tensor else { panic!("{key} has no elements") };
            let mut tensor = tensor.clone();
            if key.ends_with("result") || key.ends_with("_0") {
                let mut values = tensor.to_f32().unwrap();
                values[7] += 1.0;
                tensor.write_f32(&values).unwrap();
            }
            (key, tensor)
        })
        .collect();
    let group = TensorGroup {
        stem: "outputs",
        tensors: changed.iter().map(|(key, tensor)| (*key, tensor.as_view())).collect(),
    };
    let mut file = Vec::new();
    PtSerializer.encode(&group, &mut file).unwrap();
    fs::write(path, file).unwrap();
}

/// A copy of the example in which the last call's result was changed.
fn changed_session() -> tempfile::TempDir {
    let session = tempfile::tempdir().unwrap();
    copy(&example("batch_decode"), session.path());
    change_result(&call_folder(session.path(), "Wrapper.run_call0005"));
    session
}

#[test]
fn a_recorded_session_passes_and_prints_the_documented_lines() {
    let ran = callbox(&["replay", "--dir", text(&example("batch_decode"))]);
    let name = "BatchDecodeWithPagedKVCacheWrapper";
    let lines: Vec<_> = ran.stdout().lines().collect();
    assert_eq!(
        lines[0],
        format!("[1] {name}.__init__ (20261124_191047_655_pid846_{name}.__init___call0001): ✅ Passed")
    );
    assert_eq!(lines[9..], ["", "Summary: 9 passed, 0 failed/mismatch"]);
    assert_eq!((ran.code(), ran.stderr()), (0, ""));
}

#[test]
fn one_call_s_folder_is_replayed_with_the_object_it_needs() {
    let call = call_folder(&example("batch_decode"), "Wrapper.run_call0002");
    let ran = callbox(&["replay", "--dir", text(&call)]);
    assert!(ran.stdout().starts_with("[1] BatchDecodeWithPagedKVCacheWrapper.run ("), "{}", ran.stdout());
    assert!(
        ran.stdout().ends_with("✅ Passed\n\nSummary: 1 passed, 0 failed/mismatch\n"),
        "{}",
        ran.stdout()
    );
    assert_eq!(ran.code(), 0);
}

#[test]
fn a_changed_result_is_a_mismatch_told_with_its_place() {
    let session = changed_session();
    let arguments = ["replay", "--dir", text(session.path()), "--only", "*.run"];
    let plain = callbox(&arguments);
    assert!(plain.stdout().contains("run_call0005): ⚠️  Mismatch\n"), "{}", plain.stdout());
    assert!(plain.stdout().ends_with("\nSummary: 4 passed, 1 failed/mismatch\n"), "{}", plain.stdout());
    assert_eq!(plain.code(), 1);

    let mut command = Command::new(env!("CARGO_BIN_EXE_callbox"));
    let detailed = command.args(arguments).env("FLASHINFER_LOGLEVEL", "1").output().unwrap();
    let detailed = String::from_utf8(detailed.stdout).unwrap();
    assert!(detailed.contains("result  float16 [4, 8, 32]: 1 of 1,024 elements differ"), "{detailed}");
    assert!(detailed.contains("worst at [0, 0, 7]: expected "), "{detailed}");
}

#[test]
fn a_wide_tolerance_lets_the_mismatch_pass() {
    let session = changed_session();
    let ran = callbox(&["replay", "--dir", text(session.path()), "--atol", "2"]);
    assert_eq!(ran.code(), 0, "{}", ran.stdout());
}

#[test]
fn a_damaged_file_costs_its_own_call_and_the_others_go_on() {
    let session = tempfile::tempdir().unwrap();
    copy(&example("batch_decode"), session.path());
    let path = call_folder(session.path(), "Wrapper.run_call0002").join("inputs.pt");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    let ran = callbox(&["replay", "--dir", text(session.path())]);
    assert!(ran.stdout().contains("run_call0002): ❌ Error: damaged: "), "{}", ran.stdout());
    assert!(ran.stdout().ends_with("Summary: 8 passed, 1 failed/mismatch\n"), "{}", ran.stdout());
    assert_eq!(ran.code(), 1);
}

#[test]
fn a_suspected_crash_is_incomplete_and_no_pass_is_exit_code_4() {
    let ran = callbox(&["replay", "--dir", text(&example("killed"))]);
    assert!(ran.stdout().contains("echo_call0001): ➖ Skipped: no executor for "), "{}", ran.stdout());
    let incomplete = "hang_call0001): ❔ Incomplete (no recorded output): not run: no executor for ";
    assert!(ran.stdout().contains(incomplete), "{}", ran.stdout());
    assert!(
        ran.stdout().ends_with("failed/mismatch\nNeither: 1 skipped, 1 incomplete\n"),
        "{}",
        ran.stdout()
    );
    assert_eq!(ran.code(), 4);
}

#[test]
fn each_ending_has_its_exit_code_and_one_line_that_says_why() {
    let session = example("batch_decode");
    let session = text(&session);
    for (arguments, code, complaint) in [
        (vec!["replay", "--dir", "/no/such/folder"], 3, "callbox: error: /no/such/folder: no such folder"),
        (vec!["replay", "--dir", env!("CARGO_BIN_EXE_callbox")], 3, "callbox: error: "),
        (
            vec!["replay", "--dir", session, "--device", "cuda:99"],
            5,
            "callbox: error: device cuda:99 is not available: ",
        ),
        (
            vec!["replay", "--dir", session, "--only", "nothing"],
            4,
            "--only and --skip take none of the 9 calls",
        ),
        (vec!["replay", "--dir", session, "--device", "gpu"], 2, "callbox: error: invalid value 'gpu'"),
        (vec!["replay"], 2, "callbox: error: the following required arguments"),
        (vec!["replay", session, "--jobs", "0"], 2, "callbox: error: invalid value '0'"),
        (vec!["show", session, "-1"], 2, "callbox: error: invalid value '-1'"),
        (vec!["show", session, "99"], 2, "callbox: error: there is no call 99"),
        (vec!["replay", "--dir", session, "--rtol", "nan"], 2, "callbox: error: invalid value 'nan'"),
        (vec!["replay", "--dir", session, "--rtol", "-1"], 2, "callbox: error: invalid value '-1'"),
        (vec!["replay", session, "--timeout", "-1"], 2, "callbox: error: invalid value '-1'"),
        (vec!["replay", session, "--memory", "0"], 2, "callbox: error: invalid value '0'"),
        (
            vec!["replay", session, "--no-isolate", "--memory", "1"],
            2,
            "callbox: error: the argument '--no-isolate' cannot be used with '--memory <GB>'",
        ),
        (
            vec!["replay", session, "--journal", "/no/such/folder/journal"],
            3,
            "callbox: error: the journal /no/such/folder/journal: ",
        ),
    ] {
        let ran = callbox(&arguments);
        assert!(ran.stderr().starts_with(complaint), "{arguments:?}: {}", ran.stderr());
        assert_eq!(ran.code(), code, "{arguments:?}");
        assert_eq!(ran.stderr().lines().count(), 1, "{}", ran.stderr());
    }
}

#[test]
fn the_folder_above_a_session_is_answered_with_the_session() {
    let ran = callbox(&["list", text(&example(""))]);
    assert!(ran.stderr().contains("; did you mean "), "{}", ran.stderr());
    assert!(ran.stderr().trim_end().ends_with("/batch_decode?"), "{}", ran.stderr());
    assert_eq!(ran.code(), 3);
}

#[test]
fn a_reader_that_goes_away_does_not_change_the_exit_code() {
    let session = changed_session();
    let mut command = Command::new(env!("CARGO_BIN_EXE_callbox"));
    command.env("XDG_STATE_HOME", session.path().join("state")).stdout(Stdio::piped());
    let mut child = command.args(["replay", text(session.path())]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn output_that_cannot_be_written_is_an_ending_of_its_own() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_callbox"));
    let state = tempfile::tempdir().unwrap();
    command.args(["replay", text(&example("batch_decode"))]).env("XDG_STATE_HOME", state.path());
    let ran = command.stdout(full).output().unwrap();
    assert_eq!(ran.status.code(), Some(3));
    assert!(String::from_utf8(ran.stderr).unwrap().starts_with("callbox: error: failed to write the output"));
    // Its verdicts were kept, and nobody has them.
    let again = command.stdout(Stdio::piped()).output().unwrap();
    assert_eq!(again.status.code(), Some(0));
    let note =
        "note: the last replay of this session did not end; if a call ended it, --isolate names that call";
    assert!(String::from_utf8(again.stderr).unwrap().starts_with(note));
    let third = command.output().unwrap();
    assert_eq!(String::from_utf8(third.stderr).unwrap(), "");
}

#[test]
fn names_from_a_dump_cannot_forge_a_line() {
    let session = tempfile::tempdir().unwrap();
    copy(&example("killed"), session.path());
    let forged = r#""function_name": "echo): ok\n[9] all (x): \u2705 Passed\u001b[31m""#;
    let folder = call_folder(session.path(), "echo_call0001");
    for file in [session.path().join("session.jsonl"), folder.join("metadata.jsonl")] {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, text.replace(r#""function_name": "echo""#, &forged.replace(r"\\", r"\"))).unwrap();
    }
    for arguments in [&["replay"][..], &["list"], &["show"]] {
        let number: &[&str] = if arguments == ["show"] { &["1"] } else { &[] };
        let ran = callbox(&[arguments, &[text(session.path())], number].concat());
        assert!(!ran.stdout().contains('\u{1b}'), "{}", ran.stdout());
        assert!(!ran.stdout().lines().any(|line| line.starts_with("[9]")), "{}", ran.stdout());
        assert!(ran.stdout().contains("echo): ok"), "{}", ran.stdout());
    }
}

#[test]
fn a_record_behind_its_index_is_told() {
    let session = tempfile::tempdir().unwrap();
    copy(&example("batch_decode"), session.path());
    let metadata = call_folder(session.path(), "Wrapper.run_call0002").join("metadata.jsonl");
    let text_of = fs::read_to_string(&metadata).unwrap();
    fs::write(&metadata, &text_of[..text_of.len() - 40]).unwrap();
    let ran = callbox(&["replay", text(session.path())]);
    assert!(ran.stdout().contains("run_call0002): ❔ Incomplete"), "{}", ran.stdout());
    assert!(ran.stderr().contains("metadata.jsonl"), "{}", ran.stderr());
    let report = callbox(&["replay", text(session.path()), "--json"]).json();
    assert!(!report["findings"].as_array().unwrap().is_empty());
}

#[test]
fn strict_turns_what_did_not_pass_into_exit_code_1() {
    assert_eq!(callbox(&["replay", "--dir", text(&example("killed")), "--strict"]).code(), 1);
    assert_eq!(callbox(&["replay", "--dir", text(&example("batch_decode")), "--strict"]).code(), 0);
}

#[test]
fn json_is_one_object_with_every_verdict() {
    let session = changed_session();
    let ran = callbox(&["replay", "--dir", text(session.path()), "--json"]);
    let report = ran.json();
    assert_eq!(report["summary"]["passed"], 8);
    assert_eq!(report["summary"]["failed"], 1);
    assert_eq!(report["exit_code"], 1);
    assert_eq!(report["calls"].as_array().unwrap().len(), 9);
    let mismatch = &report["calls"].as_array().unwrap().iter().find(|c| c["verdict"] == "mismatch").unwrap();
    assert_eq!(mismatch["comparison"]["tensors"][0]["worst"]["index"], serde_json::json!([0, 0, 7]));
    assert_eq!(ran.code(), 1);
}

#[test]
fn jobs_and_mapping_change_nothing_that_is_printed() {
    let session = example("batch_decode");
    let plain = callbox(&["replay", "--dir", text(&session)]);
    for more in [&["--jobs", "1"][..], &["--jobs", "4"], &["--mmap"]] {
        let ran = callbox(&[&["replay", "--dir", text(&session)], more].concat());
        assert_eq!(ran.stdout(), plain.stdout(), "{more:?}");
    }
}

#[test]
fn isolation_changes_nothing_that_is_printed_of_calls_that_live() {
    let session = changed_session();
    let details = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callbox"));
        let arguments = [&["replay", "--dir", text(session.path())], more].concat();
        let output = command.args(arguments).env("FLASHINFER_LOGLEVEL", "1").output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = [details(&["--json"]), details(&[])];
    for more in [&[][..], &["--jobs", "1"], &["--mmap"], &["--memory", "4"], &["--timeout", "0"]] {
        let isolated = |format: &[&str]| details(&[&["--isolate"], more, format].concat());
        assert_eq!([isolated(&["--json"]), isolated(&[])], plain, "{more:?}");
    }
    let damaged = callbox(&["replay", text(&example("killed")), "--isolate"]);
    assert_eq!(damaged.stdout(), callbox(&["replay", text(&example("killed"))]).stdout());
}

#[test]
fn a_journal_that_is_asked_for_stays_and_gives_the_report_again() {
    let (session, folder) = (changed_session(), tempfile::tempdir().unwrap());
    let journal = folder.path().join("journal");
    let arguments = ["replay", text(session.path()), "--journal", text(&journal)];
    let first = callbox(&arguments);
    let again = callbox(&[&arguments[..], &["--resume"]].concat());
    assert_eq!((again.stdout(), again.code()), (first.stdout(), first.code()));
    assert_eq!(again.stderr(), "note: the verdicts on 9 of 9 calls are from the journal\n");
    let report = folder.path().join("report.json");
    fs::write(&report, "{}\n").unwrap();
    let refused = callbox(&["replay", text(session.path()), "--journal", text(&report)]);
    assert_eq!(refused.code(), 2);
    assert!(refused.stderr().contains("is no journal of a replay"), "{}", refused.stderr());
    assert_eq!(fs::read_to_string(&report).unwrap(), "{}\n");
}

#[test]
fn through_a_link_named_flashinfer_the_program_answers_to_that_name() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("flashinfer");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_callbox"), &link).unwrap();
    let session = example("batch_decode");
    let ran = run(Command::new(&link).args(["replay", "--dir", text(&session)]));
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    let help = run(Command::new(&link).args(["replay", "--help"]));
    assert!(help.stdout().contains("Usage: flashinfer replay"), "{}", help.stdout());
    assert!(!help.stdout().contains("callbox"), "{}", help.stdout());
}

#[test]
fn nothing_is_coloured_in_a_pipe() {
    for command in [&["replay", "--dir"][..], &["list"], &["show"]] {
        let session = example("killed");
        let number: &[&str] = if command == ["show"] { &["2"] } else { &[] };
        let ran = callbox(&[command, &[text(&session)], number].concat());
        assert!(!ran.stdout().contains('\u{1b}') && !ran.stdout().is_empty(), "{}", ran.stdout());
    }
}
