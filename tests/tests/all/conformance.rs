//! Every adapter passes its port's suite.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{
    Arguments, DType, ExecutionStatus, FunctionName, Group, TensorBuf, TensorSerializer, Value,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_kernels_cpu::CpuExecutor;
use callbox_sink_fs::files::{Files, RealFiles};
use callbox_sink_fs::json::{self, Json};
use callbox_sink_fs::{
    Durability, FLUSHES_FOLDER, FsSink, FsSource, Hashing, ReadMode, ReadOptions, SinkOptions,
};
use callbox_testkit::conformance::{Contents, ExecutorCase, FilesCase, SinkCase};
use callbox_testkit::sim::SimDisk;
use callbox_testkit::{MemorySink, MemorySource, Operation, conformance, sample};
use tempfile::TempDir;

#[test]
fn pt_files_are_a_format() {
    conformance::serializer(&PtSerializer);
}

#[test]
fn safetensors_files_are_a_format() {
    conformance::serializer(&SafetensorsSerializer);
}

#[test]
fn the_cpu_is_an_executor() {
    let wrapper = |method: &str| {
        FunctionName::new("flashinfer.decode", format!("BatchDecodeWithPagedKVCacheWrapper.{method}"))
    };
    let workspace = TensorBuf::from_elements(DType::UInt8, &[1], vec![0]).unwrap();
    let case = ExecutorCase {
        function: FunctionName::new("flashinfer.norm", "rmsnorm"),
        constructor: wrapper("__init__"),
        arguments: Arguments { positional: vec![Value::Tensor(workspace)], keyword: Vec::new() },
        method: wrapper("run"),
    };
    conformance::executor(&mut CpuExecutor, case);
}

#[test]
fn a_folder_is_a_source_read_or_mapped() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sessions");
    for name in ["batch_decode", "killed"] {
        for mode in [ReadMode::Buffered, ReadMode::Mapped] {
            let formats = vec![Arc::new(PtSerializer) as _];
            let source = FsSource::open(&examples.join(name), formats, ReadOptions { mode }).unwrap();
            conformance::source(&source);
        }
    }
}

#[test]
fn memory_is_a_source() {
    let mut source = MemorySource::default();
    let tensor = TensorBuf::from_f32(DType::Float32, &[1], &[1.0]).unwrap();
    source.push(sample::record("module", "function"), &[(Group::Inputs, &[("arg_0", tensor)])]);
    source.push(sample::record("module", "function"), &[]);
    conformance::source(&source);
}

#[test]
fn the_real_file_system_and_the_simulated_one_behave_alike() {
    // Folders that go when the test has passed, and not before.
    let folders = RefCell::new(Vec::new());
    conformance::files(&|| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().to_owned();
        folders.borrow_mut().push(folder);
        FilesCase { files: Box::new(RealFiles), folder: path }
    });
    conformance::files(&|| {
        let (files, folder) = (Box::new(SimDisk::default()), PathBuf::from("/dumps"));
        files.create_folder(&folder).unwrap();
        FilesCase { files, folder }
    });
}

#[test]
fn a_folder_is_a_sink_in_each_format_and_durability() {
    let formats: [Arc<dyn TensorSerializer>; 2] = [Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)];
    for format in formats {
        for durability in [Durability::Process, Durability::System] {
            conformance::dump_sink(&|| folder_case(format.clone(), durability));
            let folder = TempDir::new().unwrap();
            conformance::usage_store(&folder_sink(folder.path(), format.clone(), durability));
        }
    }
}

fn folder_case(format: Arc<dyn TensorSerializer>, durability: Durability) -> SinkCase {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("dumps");
    let sink = folder_sink(&root, format, durability);
    let session = move || {
        let _kept = &folder;
        records(&root.join("session.jsonl")).iter().map(|record| number(record, "call_sequence")).collect()
    };
    SinkCase { sink: Box::new(sink), contents: Box::new(folder_contents), session: Box::new(session) }
}

fn folder_sink(root: &Path, format: Arc<dyn TensorSerializer>, durability: Durability) -> FsSink {
    let root = root.to_owned();
    FsSink::new(SinkOptions { root, format, fallback: None, durability, hashing: Hashing::Xxh3 })
}

fn folder_contents(location: &str) -> Option<Contents> {
    let mut contents = Contents::default();
    for entry in fs::read_dir(location).ok()? {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        match Group::ALL.into_iter().find(|group| group.stem() == stem) {
            Some(group) => assert!(contents.groups.insert(group)),
            None => assert!(["metadata", FLUSHES_FOLDER].contains(&stem), "{stem}"),
        }
    }
    let metadata = Path::new(location).join("metadata.jsonl");
    let statuses = records(&metadata).into_iter().map(|record| match record.get("execution_status") {
        Some(Json::Text(status)) => ExecutionStatus::from_name(&status.to_string_lossy()),
        other => panic!("{other:?} is no status"),
    });
    contents.statuses = statuses.collect();
    Some(contents)
}

fn records(file: &Path) -> Vec<Json> {
    let lines = fs::read(file).unwrap_or_default();
    lines
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| json::parse(line.trim_ascii_end()).unwrap())
        .collect()
}

fn number(record: &Json, key: &str) -> u64 {
    let Some(Json::Int(number)) = record.get(key) else { panic!("{key} is no number") };
    number.to_string().parse().unwrap()
}

#[test]
fn memory_is_a_sink() {
    conformance::usage_store(&MemorySink::default());
    conformance::dump_sink(&|| {
        let sink = MemorySink::default();
        let (contents, session) = (sink.clone(), sink.clone());
        SinkCase {
            sink: Box::new(sink),
            contents: Box::new(move |location| memory_contents(&contents.operations(), location)),
            session: Box::new(move || logged(&session.operations())),
        }
    });
}

fn memory_contents(operations: &[Operation], location: &str) -> Option<Contents> {
    let mut contents = None;
    for (at, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Open { place } if place == location => {
                assert!(contents.replace(Contents::default()).is_none());
            }
            Operation::Put { place, group, .. } if place == location => {
                contents.as_mut()?.groups.insert(*group);
            }
            Operation::Publish { place, from, .. } if place == location => {
                let taken = memory_contents(&operations[..at], from)?.groups;
                contents.as_mut()?.groups.extend(taken);
            }
            Operation::Append { place, record } if place == location => {
                contents.as_mut()?.statuses.push(record.status.clone());
            }
            Operation::Discard { place } if place == location => contents = None,
            Operation::Plan
            | Operation::Open { .. }
            | Operation::Put { .. }
            | Operation::Publish { .. }
            | Operation::Append { .. }
            | Operation::Log { .. }
            | Operation::Discard { .. } => {}
        }
    }
    contents
}

fn logged(operations: &[Operation]) -> Vec<u64> {
    let lines = operations.iter().filter_map(|operation| match operation {
        Operation::Log { record } => Some(record.call_sequence),
        Operation::Plan
        | Operation::Open { .. }
        | Operation::Put { .. }
        | Operation::Publish { .. }
        | Operation::Append { .. }
        | Operation::Discard { .. } => None,
    });
    lines.collect()
}
