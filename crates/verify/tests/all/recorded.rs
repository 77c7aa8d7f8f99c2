//! A small session, recorded as an application does it, and looks at it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{
    Adapters, ArgumentPlace, Callsite, DType, DumpSource, DumpedCall, Group, Layout, Level, LiveArguments,
    LiveResult, LiveValue, LoadedTensor, Recorder, Settings, SourceError, TensorBuf, TensorMap,
    TensorSerializer, Value,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{Durability, FsSink, FsSource, Hashing, ReadOptions, SinkOptions};
use callbox_testkit::fixed::{FixedClock, FixedHost};
use callbox_testkit::memory_log::MemoryLog;
use callbox_verify::{Report, VerifyOptions, verify};
use tempfile::TempDir;

static CALLSITE: Callsite = Callsite::new("engine", "f", "(x, scale)");

pub(crate) fn formats() -> [Arc<dyn TensorSerializer>; 2] {
    [Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)]
}

/// A session's folder.
pub(crate) struct Recorded {
    _folder: TempDir,
    root: PathBuf,
    pub(crate) log: MemoryLog,
    recorder: Recorder,
}

impl Recorded {
    /// A session without calls.
    pub(crate) fn new(format: &Arc<dyn TensorSerializer>, hashing: Hashing) -> Recorded {
        let folder = TempDir::new().unwrap();
        let root = folder.path().join("dumps");
        let sink = FsSink::new(SinkOptions {
            root: root.clone(),
            format: format.clone(),
            fallback: None,
            durability: Durability::Process,
            hashing,
        });
        let log = MemoryLog::default();
        let adapters = Adapters {
            log: Some(Arc::new(log.clone())),
            dumps: Some(Arc::new(sink)),
            usage: None,
            clock: Arc::new(FixedClock::default()),
            host: Arc::new(FixedHost::default()),
        };
        let recorder = Recorder::new(Settings { level: Level::Dumps, ..Settings::default() }, adapters);
        Recorded { _folder: folder, root, log, recorder }
    }

    /// A session of two calls alike in everything but their numbers.
    pub(crate) fn two_calls(format: &Arc<dyn TensorSerializer>, hashing: Hashing) -> Recorded {
        let recorded = Recorded::new(format, hashing);
        for number in [1.0, 2.0] {
            let (before, after) = (floats(&[number, 0.5]), floats(&[number, 7.0]));
            let result = floats(&[number * 3.0, -1.0]);
            recorded.call(
                Value::Tensor(before.as_view()),
                LiveResult {
                    value: Value::Tensor(result.as_view()),
                    written: vec![(ArgumentPlace::Positional(0), Value::Tensor(after.as_view()))],
                },
            );
        }
        recorded
    }

    pub(crate) fn call(&self, argument: LiveValue<'_>, result: LiveResult<'_>) {
        let pending = self.recorder.begin(&CALLSITE, || LiveArguments {
            positional: vec![argument, Value::Float(0.25)],
            ..LiveArguments::default()
        });
        pending.complete(|| result);
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a call by its number, from 1.
    pub(crate) fn call_folder(&self, number: usize) -> PathBuf {
        let ending = format!("_call{number:04}");
        let mut names = fs::read_dir(&self.root).unwrap().map(|entry| entry.unwrap().path());
        names.find(|path| path.to_str().unwrap().ends_with(&ending)).unwrap()
    }

    pub(crate) fn source(&self) -> FsSource {
        FsSource::open(&self.root, formats().into(), ReadOptions::default()).unwrap()
    }

    pub(crate) fn verify(&self) -> Report {
        let options =
            VerifyOptions { dir: &self.root, formats: formats().into(), read: ReadOptions::default() };
        verify(&options, &mut |_, _| {}).unwrap()
    }
}

pub(crate) fn floats(values: &[f32]) -> TensorBuf {
    TensorBuf::from_f32(DType::Float32, &[values.len()], values).unwrap()
}

/// What a file gives: key, dtype, layout and elements of each tensor.
pub(crate) type Contents = Vec<(String, DType, Layout, Vec<u8>)>;

pub(crate) fn contents(tensors: &TensorMap) -> Contents {
    let contents = tensors.iter().map(|(key, tensor)| match tensor {
        LoadedTensor::Whole(tensor) => {
            (key.to_owned(), tensor.dtype(), tensor.layout().clone(), tensor.to_bytes().to_vec())
        }
        LoadedTensor::WithoutElements { .. } => panic!("{key} has lost its elements"),
    });
    contents.collect()
}

/// Loads every group of a call.
pub(crate) fn load_all(source: &FsSource, call: &DumpedCall) -> [Result<Option<Contents>, SourceError>; 3] {
    Group::ALL.map(|group| Ok(source.load(call, group)?.map(|tensors| contents(&tensors))))
}
