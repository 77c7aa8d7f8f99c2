//! Whole sessions.

use callbox_core::{DumpSource, Group};
use callbox_replay::{Objects, ReplayOptions, SequenceOptions, replay_from_dump, replay_sequence};
use callbox_sink_fs::FsSource;

use crate::choices::Choices;
use crate::echo::Echo;
use crate::scratch::Scratch;

/// Files that a session may have; the calls are of one process.
const FILES: [&str; 14] = [
    "session.jsonl",
    "20260101_120000_001_pid7_f_call0001/metadata.jsonl",
    "20260101_120000_001_pid7_f_call0001/inputs.pt",
    "20260101_120000_001_pid7_f_call0001/outputs.safetensors",
    "20260101_120000_001_pid7_f_call0001/args_after.pt",
    "20260101_120000_001_pid7_f_call0001/inputs.safetensors",
    "20260101_120000_002_pid7_C.__init___call0001/metadata.jsonl",
    "20260101_120000_002_pid7_C.__init___call0001/inputs.pt",
    "20260101_120000_003_pid7_C.run_call0001/metadata.jsonl",
    "20260101_120000_003_pid7_C.run_call0001/inputs.safetensors",
    "20260101_120000_003_pid7_C.run_call0001/graph_flushes/flush_0001/metadata.jsonl",
    "20260101_120000_003_pid7_C.run_call0001/graph_flushes/flush_0001/inputs.pt",
    "metadata.jsonl",
    "20260101_120000_004_pid7_g_call0001/.inputs.pt.tmp",
];
/// Divides the input into files: the byte behind it names the file.
pub(crate) const NEXT_FILE: u8 = 0x1d;

/// Lays the input out as a session: pieces of the input are files. Then lists, reads and replays all of it.
pub(crate) fn session(input: &[u8]) {
    let scratch = Scratch::new();
    for piece in input.split(|&byte| byte == NEXT_FILE) {
        let mut choices = Choices::of(piece);
        let name = choices.one_of(&FILES);
        scratch.write(name, choices.rest());
    }
    let Some(source) = scratch.open() else { return };
    read(&source);
    replay_in_order(&source);
}

/// Replays the session as the command does, on a thread of its own.
fn replay_in_order(source: &FsSource) {
    let Ok(session) = source.calls() else { return };
    let options = SequenceOptions::default();
    let mut reported = 0;
    replay_sequence(source, &session, &|| Box::new(Echo), &|_| true, &options, &mut |_, replayed| {
        assert!(!replayed.call.folder.is_empty());
        reported += 1;
    });
    assert_eq!(reported, session.calls.len(), "every call has a verdict");
}

/// Returns the byte that names a file of a session.
pub(crate) fn file_byte(name: &str) -> Option<u8> {
    FILES.iter().position(|file| *file == name).and_then(|place| u8::try_from(place).ok())
}

/// Reads everything that a source has, and replays it with and without somebody who runs the calls.
pub(crate) fn read(source: &FsSource) {
    let Ok(session) = source.calls() else { return };
    for call in &session.calls {
        let record = source.record(call);
        assert_eq!(record.is_ok(), source.metadata_json(call).is_ok(), "the record and its text");
        for group in Group::ALL {
            // A file may be damaged; then that is said.
            if let Err(error) = source.load(call, group) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
    for run in [true, false] {
        let options = ReplayOptions { run, ..ReplayOptions::default() };
        let mut objects = Objects::default();
        for call in &session.calls {
            let replayed = replay_from_dump(source, call, &mut Echo, &mut objects, &options);
            assert!(run || replayed.result.is_none(), "nothing was to be run");
        }
    }
}
