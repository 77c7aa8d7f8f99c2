//! Every record of the corpus, read and written again, is the line that FlashInfer wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{CallRecord, DumpSink, DumpSource};
use callbox_format_pt::PtSerializer;
use callbox_sink_fs::json;
use callbox_sink_fs::{Durability, FsSink, FsSource, Hashing, ReadOptions, SinkOptions};
use callbox_tests::corpus;

/// What is written again must be what it was.
const EQUAL: &str = "equal";
/// A flush of a call that was captured into a CUDA graph: a record keeps none of its three or four own keys.
const OF_A_FLUSH: &str = "of a flush";
/// Cut off, or glued to another line.
const TORN: &str = "torn";

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jsonl") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn kind(line: &str) -> &'static str {
    match json::parse(line.trim_end().as_bytes()) {
        Err(_) => TORN,
        Ok(record) if record.get("graph_capture_flushed").is_some() => OF_A_FLUSH,
        Ok(_) => EQUAL,
    }
}

/// Reads a line as the last of a call's own records.
fn read(line: &str) -> CallRecord {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("metadata.jsonl"), line).unwrap();
    let source = FsSource::open(folder.path(), Vec::new(), ReadOptions::default()).unwrap();
    let call = source.calls().unwrap().calls.remove(0);
    source.record(&call).unwrap().record
}

#[test]
fn a_real_record_is_written_as_flashinfer_wrote_it() {
    let Some(corpus) = corpus("a_real_record_is_written_as_flashinfer_wrote_it") else { return };
    let sink = FsSink::new(SinkOptions {
        root: "never opened".into(),
        format: Arc::new(PtSerializer),
        fallback: None,
        durability: Durability::Process,
        hashing: Hashing::Off,
    });
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files(&corpus) {
        for line in fs::read_to_string(&file).unwrap().split_inclusive('\n') {
            let kind = kind(line);
            *counts.entry(kind).or_default() += 1;
            if kind == EQUAL {
                let written = sink.encode(&read(line)).unwrap();
                assert_eq!(str::from_utf8(written.as_bytes()).unwrap(), line, "{}", file.display());
            }
        }
    }
    println!("lines of the corpus: {counts:?}");
    assert_eq!(counts, BTreeMap::from([(EQUAL, 3519), (OF_A_FLUSH, 80), (TORN, 2)]));
}
