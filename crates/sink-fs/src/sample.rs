//! Sessions for this crate's tests, as FlashInfer writes them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use callbox_core::{
    Bytes, CallState, DType, FilePlan, Format, FormatError, LoadedTensor, Session, SlotName, SourceError,
    TensorBuf, TensorGroup, TensorMap, TensorSerializer,
};
use tempfile::TempDir;

use crate::{FsSource, ReadOptions};

/// A session folder that goes away with the test.
pub(crate) struct Sample {
    pub(crate) folder: TempDir,
    index: String,
}

/// A call of `f`, recorded by process 7; `number` is also its millisecond.
pub(crate) fn slot(number: u64) -> SlotName {
    SlotName {
        timestamp: format!("20260101_120000_{number:03}"),
        process_id: 7,
        function: "f".to_owned(),
        call_sequence: number,
    }
}

/// A line about a call with one input and, when completed, one output.
pub(crate) fn line(slot: &SlotName, status: &str) -> String {
    let output = if status == "completed" { "\"result\"" } else { "" };
    let SlotName { timestamp, process_id, function, call_sequence } = slot;
    format!(
        "{{\"function_name\": \"{function}\", \"module\": \"m\", \"call_sequence\": {call_sequence}, \
         \"timestamp\": \"{timestamp}\", \"process_id\": {process_id}, \"input_metadata\": {{\"arg_1\": \"{{[\\\"\"}}, \
         \"tensor_info\": {{\"input_tensor_keys\": [\"arg_0\"], \"output_tensor_keys\": [{output}], \
         \"input_size_bytes\": 48}}, \"tensor_format\": \"first\", \"execution_status\": \"{status}\", \
         \"graph_capture\": false, \"dump_dir\": \"dumps/{slot}\"}}\n"
    )
}

impl Sample {
    pub(crate) fn new() -> Sample {
        Sample { folder: TempDir::new().unwrap(), index: String::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, and the folders it needs.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Appends to the index.
    pub(crate) fn log(&mut self, text: &str) {
        self.index.push_str(text);
        self.write("session.jsonl", &self.index);
    }

    /// Records a call with these statuses, one after the other, in both files; its tensors' files follow.
    pub(crate) fn call(&mut self, slot: &SlotName, statuses: &[&str]) {
        self.write(&format!("{slot}/inputs.first"), "inputs");
        let lines: String = statuses.iter().map(|status| line(slot, status)).collect();
        self.write(&format!("{slot}/metadata.jsonl"), &lines);
        self.log(&lines);
        if statuses.contains(&"completed") {
            self.write(&format!("{slot}/outputs.first"), "outputs");
        }
    }

    pub(crate) fn open(&self) -> Result<FsSource, SourceError> {
        open(self.path())
    }

    pub(crate) fn list(&self) -> Session {
        callbox_core::DumpSource::calls(&self.open().unwrap()).unwrap()
    }

    /// Lists the calls as `number of the call: state`, and the remarks.
    pub(crate) fn check(&self, calls: &[(&SlotName, &str)], findings: &[&str]) {
        let session = self.list();
        let listed: Vec<_> =
            session.calls.iter().map(|call| (call.folder.clone(), state(&call.state))).collect();
        let calls: Vec<_> =
            calls.iter().map(|(slot, state)| (slot.to_string(), (*state).to_owned())).collect();
        assert_eq!(listed, calls);
        let found: Vec<_> = session.findings.iter().map(ToString::to_string).collect();
        assert_eq!(found, findings);
    }
}

/// Opens a folder with two formats, whose names are also their extensions.
pub(crate) fn open(path: &Path) -> Result<FsSource, SourceError> {
    open_with(path, ReadOptions::default())
}

pub(crate) fn open_with(path: &Path, options: ReadOptions) -> Result<FsSource, SourceError> {
    let formats: Vec<Arc<dyn TensorSerializer>> = vec![Arc::new(Plain("first")), Arc::new(Plain("second"))];
    FsSource::open(path, formats, options)
}

/// Names a state, with its reason.
pub(crate) fn state(state: &CallState) -> String {
    match state {
        CallState::Damaged { reason } => format!("damaged: {reason}"),
        other => other.name().to_owned(),
    }
}

/// A format whose files are the elements of their tensors, which read back as one tensor of bytes by the format's
/// name. It has no complex numbers, unless its name is `second`.
#[derive(Debug)]
pub(crate) struct Plain(pub(crate) &'static str);

impl TensorSerializer for Plain {
    fn format(&self) -> Format {
        Format { name: self.0, extension: self.0, keeps_layout: false }
    }

    fn plan<'a>(&self, group: &'a TensorGroup<'a>) -> Result<FilePlan, FormatError> {
        for (key, tensor) in &group.tensors {
            if tensor.dtype == DType::Complex128 && self.0 != "second" {
                let reason = "it is too complex".to_owned();
                return Err(FormatError::CannotHold { key: (*key).to_owned(), reason });
            }
        }
        let bytes = group.tensors.iter().map(|(_, tensor)| tensor.byte_len()).sum();
        Ok(FilePlan { format: self.format(), bytes, hash: None, remarks: Vec::new() })
    }

    fn encode<'a>(&self, group: &'a TensorGroup<'a>, out: &'a mut dyn Write) -> Result<(), FormatError> {
        for (_, tensor) in &group.tensors {
            tensor.for_each_piece(&mut |piece| out.write_all(piece).map_err(FormatError::Write))?;
        }
        Ok(())
    }

    fn recognise(&self, head: &[u8]) -> Result<(), FormatError> {
        match head.first() {
            Some(0) => {
                Err(FormatError::NotThisFormat { format: self.0, reason: "it begins with 0".to_owned() })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn decode(&self, bytes: Bytes) -> Result<TensorMap, FormatError> {
        let layout = callbox_core::Layout::contiguous(&[bytes.len()]).unwrap();
        let mut tensors = TensorMap::default();
        let tensor = TensorBuf::new(DType::UInt8, layout, bytes).unwrap();
        tensors.insert(self.0.to_owned(), LoadedTensor::Whole(tensor));
        Ok(tensors)
    }
}
