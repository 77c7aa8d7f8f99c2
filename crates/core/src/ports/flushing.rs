//! Where the flushes of captured calls go.

use std::fmt::Debug;

use crate::dump_file::{FilePlan, Line, WrittenFile};
use crate::error::SinkError;
use crate::name::Group;
use crate::record::RecordedFile;
use crate::tensor_file::TensorGroup;

/// The place of a call that was captured into a CUDA graph, which has its lines and no files so far.
///
/// An application may have thousands of them: between flushes nothing is held open.
#[cfg_attr(test, mockall::automock)]
pub trait CapturedSlot: Debug + Send {
    /// Returns the place of a flush as a record names it.
    fn flush_location(&self, index: u64) -> String;
    /// Opens the place of a flush, inside the call's. `Ok`: it is fresh and empty.
    fn open_flush(&mut self, index: u64) -> Result<Box<dyn FlushSlot>, SinkError>;
}

/// The place of one flush, while that is written, and the call's place around it.
///
/// What a flush leaves on disk, so that whoever comes in between sees one flush and never parts of two:
///
/// ```
/// use callbox_core::{FlushSlot, Group, Line, RecordedFile, SinkError, TensorGroup, FilePlan, WrittenFile};
///
/// fn flush(
///     mut slot: Box<dyn FlushSlot>,
///     inputs: &TensorGroup<'_>,
///     plan: &FilePlan,
///     [of_flush, of_call]: [&Line; 2],
/// ) -> Result<(), SinkError> {
///     let WrittenFile { bytes, hash, is_unstable } = slot.put(Group::Inputs, inputs, plan)?;
///     slot.append(of_flush)?;
///     let name = Group::Inputs.file_name(plan.format);
///     slot.publish(&RecordedFile { name, bytes, hash, is_unstable })?;
///     slot.append_to_call(of_call)?;
///     Ok(())
/// }
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait FlushSlot: Debug {
    /// Writes a group's tensors to the flush's place, as [`DumpSlot::put`](crate::DumpSlot::put) does.
    fn put<'a>(
        &mut self,
        group: Group,
        tensors: &'a TensorGroup<'a>,
        plan: &FilePlan,
    ) -> Result<WrittenFile, SinkError>;
    /// Appends a line to the flush's own metadata, as [`DumpSlot::append`](crate::DumpSlot::append) does.
    fn append(&mut self, line: &Line) -> Result<u64, SinkError>;
    /// Makes a file of the flush one of the call's place as well. `Ok` gives the bytes written: the whole file is visible, in
    /// the place of an older one; after an error that one is, or none.
    fn publish(&mut self, file: &RecordedFile) -> Result<u64, SinkError>;
    /// Appends a line to the call's metadata. `Ok` gives the bytes written: the whole line is there, in one piece.
    fn append_to_call(&mut self, line: &Line) -> Result<u64, SinkError>;
    /// Gives the flush up. `Ok`: nothing of its own place is left.
    fn discard(self: Box<Self>) -> Result<(), SinkError>;
}
