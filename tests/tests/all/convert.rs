//! Every session of the corpus, rewritten in the other format: its calls are what they were.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use callbox_convert::{ConvertOptions, DeviationKind, Report, convert};
use callbox_core::{DumpSource, Group, LoadedTensor, TensorBuf, TensorSerializer, Text};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_replay::{CompareOptions, Counts};
use callbox_sink_fs::json::{self, Json};
use callbox_sink_fs::{FsSource, ReadOptions};
use callbox_tests::corpus;

use crate::replay::{replay, sessions};
use crate::zoo;

fn formats() -> Vec<Arc<dyn TensorSerializer>> {
    vec![Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)]
}

/// Rewrites a session in one of the two formats.
fn converted(dir: &Path, out: &Path, format: usize) -> Report {
    let to = formats().swap_remove(format);
    let options = ConvertOptions { dir, out, formats: formats(), to, read: ReadOptions::default() };
    let report = convert(&options, &mut |_, _| {}).unwrap();
    assert_eq!(report.count(DeviationKind::Differs), 0, "{}: {:?}", dir.display(), report.deviations);
    assert_eq!(report.count(DeviationKind::LeftOut), 0, "{}: {:?}", dir.display(), report.deviations);
    report
}

/// Replays a session; says for each call what was found, without the session's path.
fn verdicts(dir: &Path, counts: &mut Counts) -> Vec<String> {
    let (session, verdicts) = replay(dir, CompareOptions::default());
    verdicts.iter().for_each(|(_, _, _, verdict)| counts.add(verdict));
    let calls = session.calls.iter().map(|call| format!("{call:?}"));
    let verdicts = verdicts.iter().map(|verdict| format!("{verdict:?}"));
    let findings = session.findings.iter().map(ToString::to_string);
    let lines = calls.chain(verdicts).chain(findings);
    lines.map(|line| line.replace(dir.to_str().unwrap(), "").replace(".safetensors", ".pt")).collect()
}

#[test]
fn a_converted_session_lists_and_replays_as_the_original() {
    let Some(corpus) = corpus("a_converted_session_lists_and_replays_as_the_original") else { return };
    let mut files = 0;
    let mut of_ops = [Counts::default(), Counts::default()];
    for dir in sessions(&corpus) {
        let original = verdicts(&dir, &mut Counts::default());
        for (format, of_ops) in of_ops.iter_mut().enumerate() {
            let out = tempfile::tempdir().unwrap();
            files += converted(&dir, out.path(), format).totals.converted;
            let mut counts = Counts::default();
            let found =
                verdicts(out.path(), if dir.starts_with(corpus.join("ops")) { of_ops } else { &mut counts });
            for (found, original) in found.iter().zip(&original) {
                assert_eq!(found, original, "{}", dir.display());
            }
            assert_eq!(found.len(), original.len(), "{}", dir.display());
        }
    }
    println!("{files} files were converted; ops: {} and {}", of_ops[0], of_ops[1]);
    // The operations were recorded in both formats, so each count is that of 119 calls, twice.
    let expected = Counts { passed: 226, nothing_compared: 8, skipped: 4, ..Counts::default() };
    assert_eq!(of_ops, [expected, expected]);
}

#[test]
fn the_zoo_of_values_comes_back_as_what_it_was() {
    let Some(corpus) = corpus("the_zoo_of_values_comes_back_as_what_it_was") else { return };
    for (recorded, format) in [("pt", 1), ("st", 0)] {
        let zoo = corpus.join("zoo").join(recorded);
        let out = tempfile::tempdir().unwrap();
        let report = converted(&zoo.join("dumps"), out.path(), format);
        println!("zoo/{recorded}: {:?}", report.totals);
        zoo::check_dumps(out.path(), &zoo, recorded);
    }
}

/// The records of a file without what a conversion changes; what is no record, as the complaint about it.
fn records(path: &Path) -> Vec<Result<Json, String>> {
    const CHANGED: [&str; 4] =
        ["tensor_format", "dump_dir", "graph_capture_base_dump_dir", "graph_capture_snapshot_dir"];
    let text = fs::read(path).unwrap_or_default();
    let record = |line: &[u8]| match json::parse(line) {
        Ok(Json::Object(mut entries)) => {
            entries.retain(|(key, _): &(Text, Json)| key.as_str().is_none_or(|key| !CHANGED.contains(&key)));
            Ok(Json::Object(entries))
        }
        Ok(other) => Ok(other),
        Err(error) => Err(error.reason().to_owned()),
    };
    text.split(|&byte| byte == b'\n').map(record).collect()
}

/// The strides of dimensions that have a second element: of others, record and file may say different things.
fn meaningful_strides(tensor: &TensorBuf) -> Vec<usize> {
    let dimensions = tensor.shape().iter().zip(tensor.layout().strides());
    dimensions.filter(|(size, _)| **size > 1).map(|(_, stride)| *stride).collect()
}

fn check_same(dir: &Path, out: &Path) -> usize {
    let open = |dir: &Path| FsSource::open(dir, formats(), ReadOptions::default()).unwrap();
    let (original, copy) = (open(dir), open(out));
    let debug = |records: Vec<Result<Json, String>>| format!("{records:?}");
    let same_records = |name: &str| {
        assert_eq!(
            debug(records(&dir.join(name))),
            debug(records(&out.join(name))),
            "{}/{name}",
            dir.display()
        );
    };
    same_records("session.jsonl");
    let mut tensors = 0;
    for call in original.calls().unwrap().calls {
        same_records(&format!("{}/metadata.jsonl", call.folder));
        for group in Group::ALL {
            let (Ok(Some(expected)), Ok(found)) = (original.load(&call, group), copy.load(&call, group))
            else {
                continue;
            };
            let found = found.unwrap();
            assert_eq!(found.len(), expected.len(), "{}", call.folder);
            let keeps_strides = dir.join(&call.folder).join(format!("{}.pt", group.stem())).exists();
            for (key, tensor) in expected.iter() {
                let (LoadedTensor::Whole(expected), Some(LoadedTensor::Whole(found))) =
                    (tensor, found.get(key))
                else {
                    continue;
                };
                let place = format!("{}: {key}", call.folder);
                assert_eq!(found.dtype(), expected.dtype(), "{place}");
                assert_eq!(found.shape(), expected.shape(), "{place}");
                assert!(found.to_bytes() == expected.to_bytes(), "{place}");
                if keeps_strides && expected.layout().is_dense() {
                    assert_eq!(meaningful_strides(found), meaningful_strides(expected), "{place}");
                }
                tensors += 1;
            }
        }
    }
    tensors
}

#[test]
fn the_way_to_safetensors_and_back_keeps_elements_dense_strides_and_records() {
    let test = "the_way_to_safetensors_and_back_keeps_elements_dense_strides_and_records";
    let Some(corpus) = corpus(test) else { return };
    let mut tensors = 0;
    for dir in sessions(&corpus) {
        let folder = tempfile::tempdir().unwrap();
        let (there, back) = (folder.path().join("there"), folder.path().join("back"));
        converted(&dir, &there, 1);
        converted(&there, &back, 0);
        tensors += check_same(&dir, &back);
    }
    println!("{tensors} tensors went there and back");
    assert!(tensors > 2000, "only {tensors}");
}
