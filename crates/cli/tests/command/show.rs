use std::fs;

use crate::{call_folder, callbox, copy, example, text};

/// Takes the checksums out of a `.pt` file, as writers leave them out that are in a hurry.
fn leave_checksums_out(file: &mut [u8]) {
    for (mark, checksum) in [(b"PK\x07\x08", 4), (b"PK\x01\x02", 16)] {
        let places: Vec<_> = (0..file.len() - 4).filter(|&at| file[at..].starts_with(mark)).collect();
        for at in places {
            file[at + checksum..at + checksum + 4].fill(0);
        }
    }
}

#[test]
fn a_file_without_checksums_is_read_and_told_of() {
    let session = tempfile::tempdir().unwrap();
    copy(&example("batch_decode"), session.path());
    let call = call_folder(session.path(), "Wrapper.run_call0002");
    let path = call.join("outputs.pt");
    let mut file = fs::read(&path).unwrap();
    leave_checksums_out(&mut file);
    fs::write(&path, file).unwrap();
    let note = "/outputs: not checked: whoever wrote `data.pkl` and ";
    let shown = callbox(&["show", text(&call)]);
    assert!(shown.stdout().contains(note), "{}", shown.stdout());
    let as_json = callbox(&["show", text(&call), "--json"]);
    let (place, message) = note.split_once(": ").unwrap();
    let finding = &as_json.json()["findings"][0];
    assert!(finding["place"].as_str().unwrap().ends_with(place), "{finding}");
    assert!(finding["message"].as_str().unwrap().starts_with(message), "{finding}");
    let replayed = callbox(&["replay", text(session.path())]);
    assert!(replayed.stderr().contains(note), "{}", replayed.stderr());
    assert!(replayed.stdout().ends_with("Summary: 9 passed, 0 failed/mismatch\n"), "{}", replayed.stdout());
}

#[test]
fn a_crashed_call_shows_what_it_was_called_with() {
    let ran = callbox(&["show", text(&example("killed")), "2"]);
    let lines: Vec<_> = ran.stdout().lines().collect();
    assert!(lines[0].starts_with("hang   "), "{}", lines[0]);
    assert!(lines[0].ends_with("call 1 of pid 24085   inputs saved, never completed"), "{}", lines[0]);
    assert!(lines[2].starts_with("  arg_0  float32  [4, 4]  contiguous  "), "{}", lines[2]);
    assert!(lines[2].contains("min ") && lines[2].contains("mean "), "{}", lines[2]);
    assert!(lines.last().unwrap().starts_with("callbox replay --dir "), "{}", ran.stdout());
    assert_eq!(ran.code(), 0);
}

#[test]
fn json_is_the_documented_object_with_hashes_on_request() {
    let call = call_folder(&example("batch_decode"), "Wrapper.run_call0002");
    let shown = callbox(&["show", text(&call), "--json", "--hash"]).json();
    assert_eq!(shown["function"], "BatchDecodeWithPagedKVCacheWrapper.run");
    assert_eq!(shown["module"], "flashinfer.decode");
    assert_eq!(shown["status"], "completed");
    assert_eq!(shown["metadata"]["function_name"], shown["function"]);
    let input = &shown["inputs"][0];
    assert_eq!(input["key"], "arg_1");
    assert_eq!(input["dtype"], "torch.float16");
    assert_eq!(input["shape"], serde_json::json!([4, 8, 32]));
    assert_eq!(input["stride"], serde_json::json!([256, 32, 1]));
    assert_eq!(input["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(shown["outputs"][0]["key"], "result");
    let plain = callbox(&["show", text(&call), "--json"]).json();
    assert!(plain["inputs"][0].get("sha256").is_none());
}

#[test]
fn a_call_s_folder_has_the_number_1_and_no_other() {
    let call = call_folder(&example("killed"), "hang_call0001");
    assert!(callbox(&["show", text(&call), "1"]).stdout().starts_with("hang "));
    let list = callbox(&["list", text(&call)]);
    assert!(list.stdout().lines().nth(1).unwrap().starts_with("1 "), "{}", list.stdout());
    assert_eq!(callbox(&["show", text(&call), "2"]).code(), 2);
}

#[test]
fn a_session_needs_a_number_that_is_there() {
    let session = example("killed");
    for (number, complaint) in [(None, "holds 2 calls: add a number"), (Some("3"), "there is no call 3")] {
        let arguments: Vec<_> = ["show", text(&session)].into_iter().chain(number).collect();
        let ran = callbox(&arguments);
        assert!(ran.stderr().contains(complaint), "{}", ran.stderr());
        assert_eq!(ran.code(), 2);
    }
}
