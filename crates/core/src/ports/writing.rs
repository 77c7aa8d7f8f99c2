//! Where recording goes: the call log, and dumps.

use std::fmt::Debug;
use std::sync::Arc;

use super::flushing::CapturedSlot;
use crate::dump_file::{FilePlan, Line, WrittenFile};
use crate::error::SinkError;
use crate::event::Event;
use crate::limits::Usage;
use crate::name::{Group, SlotName};
use crate::record::CallRecord;
use crate::tensor_file::TensorGroup;

/// Takes the events of the call log.
///
/// ```
/// use callbox_core::{Event, LogSink, SinkError};
///
/// /// Counts calls and keeps no text.
/// #[derive(Debug, Default)]
/// struct Counter(std::sync::atomic::AtomicU64);
///
/// impl LogSink for Counter {
///     fn emit<'a>(&self, event: &'a Event<'a>) -> Result<(), SinkError> {
///         if let Event::CallNamed { .. } | Event::CallStarted { .. } = event {
///             self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         }
///         Ok(())
///     }
/// }
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait LogSink: Debug + Send + Sync {
    /// Writes an event's lines. `Ok`: they are on their way in one piece, never interleaved with those of
    /// another event.
    fn emit<'a>(&self, event: &'a Event<'a>) -> Result<(), SinkError>;
}

/// Takes dumps; low level on purpose, since the order of its calls is the core's rule.
///
/// What is done before a call, so that a crash inside it leaves its inputs:
///
/// ```
/// use callbox_core::{CallRecord, DumpSink, DumpSlot, Group, SinkError, SlotName, TensorGroup};
///
/// fn dump_inputs(
///     sink: &dyn DumpSink,
///     name: &SlotName,
///     inputs: &TensorGroup<'_>,
///     mut record: CallRecord,
/// ) -> Result<Box<dyn DumpSlot>, SinkError> {
///     let plan = sink.plan(inputs)?;
///     let mut slot = sink.open(name)?;
///     record.dump_dir = slot.location().to_owned();
///     let line = sink.encode(&record)?;
///     slot.put(Group::Inputs, inputs, &plan)?;
///     slot.append(&line)?;
///     sink.log(&line)?;
///     Ok(slot)
/// }
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait DumpSink: Debug + Send + Sync {
    /// Plans a group's file without writing it. `Ok` tells its format and exact size; the sink chooses a
    /// format that can hold every tensor of the group.
    fn plan<'a>(&self, tensors: &'a TensorGroup<'a>) -> Result<FilePlan, SinkError>;
    /// Opens the place of one call. `Ok`: it is fresh, empty and never handed out again.
    fn open(&self, name: &SlotName) -> Result<Box<dyn DumpSlot>, SinkError>;
    /// Spells a record as the line that goes to the call's place and to the session alike.
    fn encode(&self, record: &CallRecord) -> Result<Line, SinkError>;
    /// Appends a line to the session. `Ok` gives the bytes written: the whole line is there, in one piece.
    fn log(&self, line: &Line) -> Result<u64, SinkError>;
    /// Returns the bytes that can still be written where dumps go; `None` where nobody knows, or nothing is used up.
    fn free_bytes(&self) -> Result<Option<u64>, SinkError>;
}

/// Has the count of what several processes use of their limits together.
#[cfg_attr(test, mockall::automock)]
pub trait UsageStore: Debug + Send + Sync {
    /// Returns the count as it is now. One that is removed, with all that was dumped, is another one the next time.
    fn counter(&self) -> Result<Arc<dyn UsageCounter>, SinkError>;
}

/// Counts what several processes use of their limits together.
///
/// ```
/// use std::sync::Mutex;
///
/// use callbox_core::{SinkError, Usage, UsageCounter};
///
/// /// For the recorders of one process.
/// #[derive(Debug, Default)]
/// struct InMemory(Mutex<Usage>);
///
/// impl UsageCounter for InMemory {
///     fn take(&self, amount: Usage, most: Usage) -> Result<Option<Usage>, SinkError> {
///         let mut used = self.0.lock().unwrap();
///         let sum = used.plus(amount, most);
///         *used = sum.unwrap_or(*used);
///         Ok(sum)
///     }
///     fn give_back(&self, amount: Usage) -> Result<(), SinkError> {
///         let mut used = self.0.lock().unwrap();
///         *used = used.minus(amount);
///         Ok(())
///     }
/// }
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait UsageCounter: Debug + Send + Sync {
    /// Adds to what is used. `Ok` gives the sum, which every other process finds from here on; `None`: it would be more
    /// than `most`, and nothing was added. After an error nothing was added either, unless it says so.
    fn take(&self, amount: Usage, most: Usage) -> Result<Option<Usage>, SinkError>;
    /// Takes away again what was added and is not used. `Ok`: others can use it; after an error it stays counted.
    fn give_back(&self, amount: Usage) -> Result<(), SinkError>;
}

/// The place of one call's dump.
///
/// ```
/// use callbox_core::{
///     CapturedSlot, DumpSlot, FilePlan, FlushSlot, Group, Line, SinkError, TensorGroup, WrittenFile,
/// };
///
/// /// Keeps nothing: shows what recording itself costs.
/// #[derive(Debug)]
/// struct Nowhere;
///
/// impl DumpSlot for Nowhere {
///     fn location(&self) -> &str {
///         "nowhere"
///     }
///     fn put<'a>(
///         &mut self,
///         _: Group,
///         _: &'a TensorGroup<'a>,
///         plan: &FilePlan,
///     ) -> Result<WrittenFile, SinkError> {
///         Ok(WrittenFile { bytes: plan.bytes, ..WrittenFile::default() })
///     }
///     fn append(&mut self, line: &Line) -> Result<u64, SinkError> {
///         Ok(line.byte_len())
///     }
///     fn into_captured(self: Box<Self>) -> Box<dyn CapturedSlot> {
///         self
///     }
///     fn discard(self: Box<Self>) -> Result<(), SinkError> {
///         Ok(())
///     }
/// }
///
/// impl CapturedSlot for Nowhere {
///     fn flush_location(&self, index: u64) -> String {
///         format!("nowhere/{index}")
///     }
///     fn open_flush(&mut self, _: u64) -> Result<Box<dyn FlushSlot>, SinkError> {
///         Err(SinkError::Panicked("there is nowhere to flush to".to_owned()))
///     }
/// }
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait DumpSlot: Debug + Send {
    /// Returns the place as a record names it in `dump_dir`.
    fn location(&self) -> &str;
    /// Writes a group's tensors as planned. `Ok` tells what is on disk: the whole file is visible under its
    /// final name; an error leaves nothing visible. Tensors whose memory others may write
    /// ([`TensorGroup::may_change`]) are looked at once more, and a file that was torn by that says so.
    fn put<'a>(
        &mut self,
        group: Group,
        tensors: &'a TensorGroup<'a>,
        plan: &FilePlan,
    ) -> Result<WrittenFile, SinkError>;
    /// Appends a line to the call's metadata. `Ok` gives the bytes written: the whole line is there, in one
    /// piece, behind everything that was put before it.
    fn append(&mut self, line: &Line) -> Result<u64, SinkError>;
    /// Goes on with the place of a call that was captured into a CUDA graph, whose files come later.
    fn into_captured(self: Box<Self>) -> Box<dyn CapturedSlot>;
    /// Gives the place up. `Ok`: nothing of it is left.
    fn discard(self: Box<Self>) -> Result<(), SinkError>;
}
