//! Replaying the sessions of the corpus on the CPU.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{CallState, DumpSource, Session};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_kernels_cpu::CpuExecutor;
use callbox_replay::{CompareOptions, Counts, ReplayOptions, SequenceOptions, Verdict, replay_sequence};
use callbox_sink_fs::{FsSource, ReadMode, ReadOptions};
use callbox_tests::corpus;

/// Number, function, state and verdict of each call.
pub(crate) type Verdicts = Vec<(usize, String, CallState, Verdict)>;

pub(crate) fn replay(dir: &Path, comparison: CompareOptions) -> (Session, Verdicts) {
    let formats = vec![Arc::new(PtSerializer) as _, Arc::new(SafetensorsSerializer) as _];
    let source = FsSource::open(dir, formats, ReadOptions { mode: ReadMode::Buffered }).unwrap();
    let session = source.calls().unwrap();
    let options = SequenceOptions {
        replay: ReplayOptions { comparison, ..ReplayOptions::default() },
        jobs: NonZeroUsize::new(2).unwrap(),
        keep_values: false,
    };
    let mut verdicts = Vec::new();
    replay_sequence(
        &source,
        &session,
        &|| Box::new(CpuExecutor),
        &|_| true,
        &options,
        &mut |number, replayed| {
            let function = replayed.call.function.name().to_owned();
            verdicts.push((number, function, replayed.call.state.clone(), replayed.verdict));
        },
    );
    (session, verdicts)
}

/// Every folder below `dir` that is called `dumps` or holds a session.
pub(crate) fn sessions(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        if dir.join("session.jsonl").exists() {
            found.push(dir);
            continue;
        }
        let entries = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        waiting.extend(entries.filter(|path| path.is_dir()));
    }
    found.sort();
    found
}

fn ops(format: &str) -> Option<PathBuf> {
    corpus(&format!("replaying ops/{format}")).map(|corpus| corpus.join("ops").join(format))
}

/// 119 calls: 113 pass, the four that write into arguments and return nothing cannot be compared, and the two
/// mx quantisations have no executor.
fn check_ops(format: &str, comparison: CompareOptions) {
    let Some(dir) = ops(format) else { return };
    let mut counts = Counts::default();
    let mut odd = BTreeMap::new();
    for session in sessions(&dir) {
        for (_, function, _, verdict) in replay(&session, comparison).1 {
            counts.add(&verdict);
            if verdict != Verdict::Passed {
                odd.entry(function).or_insert_with(Vec::new).push(verdict);
            }
        }
    }
    println!("ops/{format}: {counts}");
    let expected = Counts { passed: 113, nothing_compared: 4, skipped: 2, ..Counts::default() };
    assert_eq!(counts, expected, "{odd:#?}");
    let names: Vec<_> = odd.keys().map(String::as_str).collect();
    assert_eq!(names, ["append_paged_kv_cache", "fused_add_rmsnorm", "mxfp4_quantize", "mxfp8_quantize"]);
}

#[test]
fn recorded_calls_in_pt_files_reproduce() {
    check_ops("pt", CompareOptions::default());
}

#[test]
fn recorded_calls_in_safetensors_files_reproduce() {
    check_ops("st", CompareOptions::default());
}

#[test]
fn every_session_is_replayed_to_the_end_with_one_verdict_a_call() {
    let Some(corpus) = corpus("replaying every session") else { return };
    let mut calls = 0;
    for dir in sessions(&corpus) {
        let (session, verdicts) = replay(&dir, CompareOptions::default());
        assert_eq!(verdicts.len(), session.calls.len(), "{}", dir.display());
        calls += verdicts.len();
        for (number, function, state, verdict) in verdicts {
            let fits = match &state {
                CallState::InputsSaved | CallState::OutputsUnconfirmed | CallState::Failed => {
                    matches!(verdict, Verdict::Incomplete { .. })
                }
                CallState::Damaged { .. } => matches!(verdict, Verdict::Damaged { .. }),
                CallState::NotStarted | CallState::GraphPending => matches!(verdict, Verdict::Skipped { .. }),
                CallState::Completed | CallState::OutputsSkipped | CallState::GraphCaptured => {
                    !matches!(verdict, Verdict::Incomplete { .. })
                }
            };
            assert!(fits, "{} [{number}] {function}: {state:?} gave {verdict}", dir.display());
        }
    }
    println!("replayed {calls} calls");
    assert!(calls > 900, "only {calls} calls");
}
