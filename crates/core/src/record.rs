//! What one line of `session.jsonl` or `metadata.jsonl` says of a call.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::name::FunctionName;
use crate::tensor::TensorMeta;
use crate::value::MetaValue;

/// One record: the state of a call when the line was written.
///
/// A call has at least two, first with [`ExecutionStatus::InputsSaved`], then with its ending.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// Defining module and name.
    pub function: FunctionName,
    /// Number of the call among those of its function in its process, from 1.
    pub call_sequence: u64,
    /// Local time of the call, `YYYYMMDD_HHMMSS_mmm`.
    pub timestamp: String,
    /// Process id of the recording process.
    pub process_id: u64,
    /// Arguments that are not tensors, by key: `arg_2`, `kwarg_eps`.
    pub input_metadata: Vec<(String, MetaValue)>,
    /// Results that are not tensors, by key: `result`, `result_1`.
    pub output_metadata: Vec<(String, MetaValue)>,
    /// Keys and sizes of the tensors.
    pub tensor_info: TensorInfo,
    /// Shape, strides, dtype and device of each tensor, inputs first.
    pub tensor_details: Vec<(String, TensorMeta)>,
    /// File format of the tensors: `torch` or `safetensors`.
    pub tensor_format: String,
    /// Python's text of the signature, or Rust's; not meant for parsing.
    pub function_signature: String,
    /// Versions of the libraries involved, by name.
    pub versions: Vec<(String, String)>,
    /// How far the call had come.
    pub status: ExecutionStatus,
    /// The call was captured into a CUDA graph.
    pub graph_capture: bool,
    /// The flush that wrote the tensors of a captured call.
    pub graph_flush: Option<GraphFlush>,
    /// Identity of the object whose method was called, unique within its process while the object lives.
    pub self_id: Option<u64>,
    /// The folder, as the recorder was configured; not a path to follow.
    pub dump_dir: String,
    /// What callbox's own recorder adds.
    pub origin: Option<Origin>,
    /// How the call failed, where the recorder knows it.
    pub error: Option<RecordedError>,
    /// Why outputs are missing, where the recorder knows it.
    pub reason: Option<String>,
    /// The files of tensors that were written so far; callbox's own.
    pub files: Vec<RecordedFile>,
}

/// What a record says of the flush that wrote the tensors of a captured call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphFlush {
    /// Number of the flush among those of its call, from 1.
    pub index: u64,
    /// The folder of what it wrote, as `dump_dir` names folders; nothing in it changes afterwards.
    pub snapshot_dir: String,
    /// The call's own folder, in the records in `snapshot_dir`; the call's own have none.
    pub base_dir: Option<String>,
}

/// What a record says of a file of tensors beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedFile {
    /// Name of the file in the call's folder: `inputs.pt`.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The hash of its bytes, unless hashing was off.
    pub hash: Option<FileHash>,
    /// Tensors changed while they were written.
    pub is_unstable: bool,
}

/// A hash of a whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHash {
    /// Name of the function: `xxh3`, `blake3`. A newer recorder may know one that we do not.
    pub kind: Cow<'static, str>,
    /// The digest, in hexadecimal digits.
    pub digits: String,
}

/// Writes `KIND:DIGITS`, as a record does.
impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.digits)
    }
}

/// Keys of the tensors in recording order, and sizes of the views in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorInfo {
    /// Keys of the argument tensors: `arg_0`, `kwarg_out`, `arg_1__0`.
    pub input_keys: Vec<String>,
    /// Keys of the result tensors.
    pub output_keys: Vec<String>,
    /// Sum of element count times element size over the arguments.
    pub input_bytes: u64,
    /// The same over the results; `None` before they are known.
    pub output_bytes: Option<u64>,
    /// Keys of the tensors that the call wrote into, where their after-images were recorded.
    pub args_after_keys: Vec<String>,
}

/// How far a call had come when a line was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutionStatus {
    /// The inputs are on disk, the call has not returned.
    InputsSaved,
    /// The call returned and its outputs are on disk.
    Completed,
    /// The call returned an error or panicked; callbox's own.
    Failed,
    /// The call returned, its outputs were not kept; callbox's own.
    OutputsSkipped,
    /// The call was captured into a CUDA graph, its tensors are still to be written.
    GraphCapturePendingFlush,
    /// A status that this version does not know.
    Other(String),
}

impl ExecutionStatus {
    /// Reads the status as a record spells it.
    pub fn from_name(name: &str) -> ExecutionStatus {
        match name {
            "inputs_saved" => ExecutionStatus::InputsSaved,
            "completed" => ExecutionStatus::Completed,
            "failed" => ExecutionStatus::Failed,
            "outputs_skipped" => ExecutionStatus::OutputsSkipped,
            "graph_capture_pending_flush" => ExecutionStatus::GraphCapturePendingFlush,
            other => ExecutionStatus::Other(other.to_owned()),
        }
    }

    /// Returns the status as a record spells it.
    pub fn as_str(&self) -> &str {
        match self {
            ExecutionStatus::InputsSaved => "inputs_saved",
            ExecutionStatus::Completed => "completed",
            ExecutionStatus::Failed => "failed",
            ExecutionStatus::OutputsSkipped => "outputs_skipped",
            ExecutionStatus::GraphCapturePendingFlush => "graph_capture_pending_flush",
            ExecutionStatus::Other(name) => name,
        }
    }
}

impl fmt::Display for ExecutionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a record of callbox's own recorder comes from: the extra key `callbox`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Version of the extension's layout.
    pub format: u32,
    /// Name of the machine.
    pub host: Arc<str>,
    /// 64 random bits of the process, new after a fork, as recorded.
    pub process: Arc<str>,
}

impl Origin {
    /// The newest layout of callbox's own keys: what is written, and what is known when reading.
    pub const FORMAT: u32 = 1;
}

/// How a recorded call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedError {
    /// `error` or `panic`.
    pub kind: String,
    /// Name of the error's type.
    pub type_name: String,
    /// The message.
    pub text: String,
}
