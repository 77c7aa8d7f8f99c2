//! A recorded call as a session's index shows it, before anything of it is loaded.

use std::fmt;
use std::sync::Arc;

use crate::name::{FunctionName, Group};
use crate::quote::Quoted;
use crate::record::CallRecord;
use crate::tensor::TensorMeta;
use crate::tensor_file::TensorMap;

/// A recorded session: its calls in the order in which they were made, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// One entry for each call folder, known to the index or found beside it.
    pub calls: Vec<DumpedCall>,
    /// Damage that cost something or that a user should know of; nothing here is fatal.
    pub findings: Vec<Finding>,
}

/// One remark about a session's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file or folder, relative to the session.
    pub place: String,
    /// What is wrong, and what it costs.
    pub message: String,
}

impl Finding {
    /// Says that damage to some of a group's elements would go unseen, if so.
    pub fn unchecked(call: &DumpedCall, group: Group, tensors: &TensorMap) -> Option<Finding> {
        let first = Quoted(tensors.unchecked().first()?.as_bytes());
        let more = match tensors.unchecked().len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(Finding {
            place: format!("{}/{}", call.folder, group.stem()),
            message: format!(
                "not checked: whoever wrote {first}{more} left out the checksum, so damage to it goes unseen"
            ),
        })
    }
}

/// Writes `PLACE: MESSAGE`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// One call folder.
#[derive(Clone, Debug)]
pub struct DumpedCall {
    /// The folder's name inside the session.
    pub folder: String,
    /// Defining module and name; the module is empty where no record tells it.
    pub function: FunctionName,
    /// Number of the call among those of its function in its process, from 1.
    pub call_sequence: u64,
    /// Local time of the call, `YYYYMMDD_HHMMSS_mmm`.
    pub timestamp: String,
    /// The recording process.
    pub process: ProcessKey,
    /// Identity of the object whose method was called.
    pub self_id: Option<u64>,
    /// What became of the call.
    pub state: CallState,
    /// Argument tensors.
    pub inputs: GroupSummary,
    /// Result tensors.
    pub outputs: GroupSummary,
    /// Shape, strides, dtype and device of each tensor by its key, inputs first.
    ///
    /// Calls whose tensors look alike share one list: a session of a million calls has few different ones.
    pub tensor_details: Arc<[(String, TensorMeta)]>,
    /// Tensors changed while they were written: their files may hold what none of them ever was.
    pub is_unstable: bool,
    /// Of a call that was captured into a CUDA graph the number of its last flush, from 1.
    pub flush: Option<u64>,
}

/// How many tensors a group has, and how many bytes their elements take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSummary {
    /// Number of tensors.
    pub tensors: usize,
    /// Bytes of their logical elements.
    pub bytes: u64,
}

/// Tells recording processes apart, also where containers share process ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProcessKey {
    /// Process id.
    pub process_id: u64,
    /// Host name and random process number, where the recorder wrote them.
    pub origin: Option<(Arc<str>, Arc<str>)>,
}

/// What became of a recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallState {
    /// It returned and everything is on disk.
    Completed,
    /// Its inputs are on disk and nothing says that it returned: a suspected crash, or (upstream leaves the
    /// same trace) an exception.
    InputsSaved,
    /// Its outputs are on disk but no line confirms them: the process ended between the two writes.
    OutputsUnconfirmed,
    /// It returned an error or panicked.
    Failed,
    /// It returned, its outputs were not kept.
    OutputsSkipped,
    /// It was captured into a CUDA graph that has not been flushed since.
    GraphPending,
    /// It was captured into a CUDA graph, its inputs were flushed and no outputs.
    GraphCaptured,
    /// Its folder is there but empty: the recording failed before anything was written.
    NotStarted,
    /// Its files cannot be used.
    Damaged {
        /// Why not.
        reason: String,
    },
}

impl CallState {
    /// Returns the one-word name, as `--json` prints it.
    pub fn name(&self) -> &'static str {
        match self {
            CallState::Completed => "completed",
            CallState::InputsSaved => "inputs_saved",
            CallState::OutputsUnconfirmed => "outputs_unconfirmed",
            CallState::Failed => "failed",
            CallState::OutputsSkipped => "outputs_skipped",
            CallState::GraphPending => "graph_capture_pending_flush",
            CallState::GraphCaptured => "graph_captured",
            CallState::NotStarted => "not_started",
            CallState::Damaged { .. } => "damaged",
        }
    }

    /// Returns why the call's files cannot be used, where they cannot.
    pub fn damage(&self) -> Option<&str> {
        match self {
            CallState::Damaged { reason } => Some(reason),
            CallState::Completed
            | CallState::InputsSaved
            | CallState::OutputsUnconfirmed
            | CallState::Failed
            | CallState::OutputsSkipped
            | CallState::GraphPending
            | CallState::GraphCaptured
            | CallState::NotStarted => None,
        }
    }

    /// Tells whether the process may have died inside this call.
    pub fn is_suspected_crash(&self) -> bool {
        matches!(self, CallState::InputsSaved)
    }
}

/// A call's own record, read from its folder, and where the session's index disagrees with it.
#[derive(Clone, Debug)]
pub struct LoadedRecord {
    /// The last whole record of the call: the truth.
    pub record: CallRecord,
    /// Remarks about the call's own files, the index's differences among them.
    pub findings: Vec<Finding>,
}
