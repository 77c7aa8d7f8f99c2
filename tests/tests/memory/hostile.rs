//! A session of one call, in which one file can be a lie.

use std::fs;
use std::path::Path;

use callbox_core::{DType, Layout, TensorBuf, TensorGroup, TensorSerializer};
use callbox_format_pt::PtSerializer;
use tempfile::TempDir;

const CALL: &str = "20260101_120000_001_pid7_f_call0001";

/// A session folder that goes away with the test.
pub(crate) struct HostileSession(TempDir);

impl HostileSession {
    fn honest() -> HostileSession {
        let session = HostileSession(TempDir::new().unwrap());
        session.write("session.jsonl", line("1").as_bytes());
        session.write(&format!("{CALL}/metadata.jsonl"), line("1").as_bytes());
        session
    }

    /// A session whose call has these bytes as its file of inputs.
    pub(crate) fn with_inputs(extension: &str, file: &[u8]) -> HostileSession {
        let session = HostileSession::honest();
        session.write(&format!("{CALL}/inputs.{extension}"), file);
        session
    }

    /// A session whose call has this JSON as its argument, in the record and in the index.
    pub(crate) fn with_argument(argument: &str) -> HostileSession {
        let session = HostileSession::honest();
        session.write("session.jsonl", line(argument).as_bytes());
        session.write(&format!("{CALL}/metadata.jsonl"), line(argument).as_bytes());
        session
    }

    /// A session whose index is these bytes.
    pub(crate) fn with_index(index: &[u8]) -> HostileSession {
        let session = HostileSession::honest();
        session.write("session.jsonl", index);
        session
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Bytes of the largest file.
    pub(crate) fn size(&self) -> usize {
        let folders = [self.path().to_owned(), self.path().join(CALL)];
        let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let files = entries.map(|entry| entry.unwrap().metadata().unwrap()).filter(|entry| entry.is_file());
        files.map(|file| file.len() as usize).max().unwrap()
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// A line about the call.
fn line(argument: &str) -> String {
    format!(
        "{{\"function_name\": \"f\", \"module\": \"m\", \"call_sequence\": 1, \"timestamp\": \
         \"20260101_120000_001\", \"process_id\": 7, \"input_metadata\": {{\"arg_1\": {argument}}}, \
         \"output_metadata\": {{}}, \"tensor_info\": {{\"input_tensor_keys\": [\"arg_0\"], \
         \"output_tensor_keys\": [], \"input_size_bytes\": 4}}, \"tensor_format\": \"torch\", \
         \"execution_status\": \"inputs_saved\", \"graph_capture\": false, \"dump_dir\": \"dumps/{CALL}\"}}\n"
    )
}

/// A `.pt` file with a tensor of this shape whose strides are all zero, over four bytes.
pub(crate) fn expanded_pt(shape: &[usize]) -> Vec<u8> {
    let one = TensorBuf::from_f32(DType::Float32, &[1], &[1.0]).unwrap();
    let strides = vec![0; shape.len()];
    pt(&one.with_layout(Layout::new(shape, &strides, 0).unwrap()).unwrap())
}

/// A `.pt` file with this tensor as `arg_0`.
pub(crate) fn pt(tensor: &TensorBuf) -> Vec<u8> {
    let group = TensorGroup { stem: "inputs", tensors: vec![("arg_0", tensor.as_view())] };
    let mut file = Vec::new();
    PtSerializer.encode(&group, &mut file).unwrap();
    file
}

/// A `.safetensors` file whose header says this of `arg_0`, over four bytes.
pub(crate) fn safetensors(shape: &str, end: u64) -> Vec<u8> {
    let entry = format!("{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}");
    let header = format!("{{\"arg_0\":{entry}}}");
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat()
}
