use crate::{call_folder, callbox, copy, example, text};

#[test]
fn every_call_has_a_line_and_the_suspect_stands_out() {
    let session = example("killed");
    let ran = callbox(&["list", text(&session)]);
    let expected = format!(
        "\
#  time          pid    function  status     inputs                          outputs
1  19:03:12.354  24085  echo      completed  1 tensor  12 B  float32 [3]     1 tensor  12 B  float32 [3]
2  19:03:12.390  24085  hang      CRASHED?   1 tensor  64 B  float32 [4, 4]  -
2 calls, 1 completed, 1 suspected crash (#2). 88 B.
callbox show {} 2
",
        text(&session)
    );
    assert_eq!(ran.stdout(), expected);
    assert_eq!(ran.code(), 0);
}

#[test]
fn a_session_without_suspects_ends_with_the_replay_command() {
    let session = example("batch_decode");
    let ran = callbox(&["list", text(&session), "--only", "*.run"]);
    let lines: Vec<_> = ran.stdout().lines().collect();
    assert!(lines[lines.len() - 2].starts_with("5 calls, 5 completed. "), "{}", ran.stdout());
    assert_eq!(lines[lines.len() - 1], format!("callbox replay --dir {}", text(&session)));
}

#[test]
fn json_describes_every_tensor() {
    let list = callbox(&["list", text(&example("killed")), "--json"]).json();
    assert_eq!(list["calls"][1]["state"], "inputs_saved");
    assert_eq!(list["calls"][1]["suspected_crash"], true);
    let tensor = serde_json::json!({
        "key": "arg_0", "dtype": "torch.float32", "shape": [4, 4], "stride": [4, 1], "device": "cpu",
    });
    assert_eq!(list["calls"][1]["inputs"], serde_json::json!({ "bytes": 64, "tensors": [tensor] }));
}

#[test]
fn what_no_function_is_built_in_for_can_be_looked_at() {
    let session = example("killed");
    let ran = callbox(&["list", text(&session), "--only", "echo"]);
    assert!(ran.stdout().ends_with(&format!("callbox show {} 1\n", text(&session))), "{}", ran.stdout());
}

#[test]
fn a_damaged_session_ends_with_the_verify_command() {
    let session = tempfile::tempdir().unwrap();
    copy(&example("batch_decode"), session.path());
    std::fs::remove_file(session.path().join("session.jsonl")).unwrap();
    let metadata = call_folder(session.path(), "Wrapper.run_call0002").join("metadata.jsonl");
    std::fs::write(metadata, "no record\n").unwrap();
    let ran = callbox(&["list", text(session.path())]);
    assert!(ran.stdout().contains("8 completed, 1 damaged. "), "{}", ran.stdout());
    assert!(
        ran.stdout().ends_with(&format!("callbox verify {}\n", text(session.path()))),
        "{}",
        ran.stdout()
    );
}

#[test]
fn the_help_of_a_command_says_what_its_exit_codes_mean() {
    for (command, meaning) in [
        (vec!["--help"], "  4  there was nothing to judge by\n"),
        (vec!["replay", "--help"], "  4  no call passed\n"),
        (vec!["verify", "--help"], "  4  there was nothing to check\n"),
    ] {
        let ran = callbox(&command);
        assert!(ran.stdout().contains(meaning), "{command:?}: {}", ran.stdout());
        assert_eq!(ran.code(), 0);
    }
}
