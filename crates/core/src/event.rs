//! What happens while calls are recorded, as the call log tells it.

use time::OffsetDateTime;

use crate::live::{LiveArguments, LiveResult};
use crate::name::FunctionName;
use crate::record::RecordedError;

/// One event of the call log. A sink spells it; the core decides which events there are.
#[derive(Debug)]
pub enum Event<'a> {
    /// Recording begins.
    Started {
        /// When.
        at: OffsetDateTime,
        /// Label and value of each line about the system.
        system: &'a [(String, String)],
    },
    /// A call is about to run, at level 1.
    CallNamed {
        /// When.
        at: OffsetDateTime,
        /// The function.
        function: &'a FunctionName,
    },
    /// A call is about to run, at level 3 and above.
    CallStarted {
        /// When.
        at: OffsetDateTime,
        /// The function.
        function: &'a FunctionName,
        /// Its arguments.
        arguments: &'a LiveArguments<'a>,
        /// Level 5: tensors are shown with their statistics.
        statistics: bool,
    },
    /// A call returned.
    CallReturned {
        /// What it returned.
        result: &'a LiveResult<'a>,
        /// Level 5: tensors are shown with their statistics.
        statistics: bool,
    },
    /// A call returned an error or panicked.
    CallFailed {
        /// How.
        error: &'a RecordedError,
    },
    /// A call's inputs are on disk, or will be.
    InputsDumped {
        /// The call's place, as the record names it.
        location: &'a str,
        /// Bytes of the argument tensors' elements.
        bytes: u64,
        /// Calls dumped by this process, this one among them.
        count: u64,
        /// The most that it may dump.
        max_count: u64,
        /// The call is captured into a CUDA graph: there is no file before a flush.
        is_deferred: bool,
    },
    /// A call's outputs are on disk, or will be.
    OutputsDumped {
        /// The call's place, as the record names it.
        location: &'a str,
        /// Bytes of the result tensors' elements.
        bytes: u64,
        /// Bytes of the elements of the call's tensors, arguments and results.
        total_bytes: u64,
        /// The call was captured into a CUDA graph: there is no file before a flush.
        is_deferred: bool,
    },
    /// Something that the reader of the log has to know: a limit was reached, recording failed.
    Notice {
        /// A sentence.
        text: &'a str,
    },
}
