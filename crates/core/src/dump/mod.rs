//! The crash-safe order of one dump, as types: inputs, then their line, then the call, then outputs, then theirs.
//!
//! A [`Dump`] moves through its stages by methods that consume it, so that no program can write a later file
//! before an earlier one:
//!
//! ```text
//! Dump<Opened> --save_inputs--> Dump<InputsSaved> --complete | fail | skip_outputs--> Dump<Ended>
//! ```
//!
//! A call that was captured into a CUDA graph has no files when it ends; its dump stays open for what is flushed later:
//!
//! ```text
//! Dump<Ended> --into_captured--> CapturedDump --flush--> --flush-->
//! ```
//!
//! Outputs cannot be saved before inputs:
//!
//! ```compile_fail,E0599
//! use callbox_core::dump::{Dump, Opened};
//!
//! fn outputs_first(dump: Dump<Opened>) {
//!     let _ = dump.skip_outputs("the inputs are still in memory");
//! }
//! ```

mod files;
mod flush;
mod held;
mod room;

use std::marker::PhantomData;
use std::sync::Arc;

pub(crate) use self::files::plan_inputs;
use self::files::{planned_file, recorded_file, tensor_group};
pub(crate) use self::flush::CapturedDump;
use self::held::HeldCall;
pub(crate) use self::held::Waited;
pub(crate) use self::room::keep_free;
use self::room::{SHORT_TEXT, opening_bytes, reserve_of, shortened};

use crate::budget::Reservation;
use crate::describe::{Described, add_outputs};
use crate::dump_file::{FilePlan, Line, Remark};
use crate::error::{SinkError, chain};
use crate::name::{Group, SlotName};
use crate::not_dumped::{NotDumped, NotDumpedCause};
use crate::planted;
use crate::ports::{DumpSink, DumpSlot};
use crate::record::{CallRecord, ExecutionStatus, RecordedError, RecordedFile};
use crate::recorder::guarded;

/// The place is open and empty.
#[derive(Debug)]
pub struct Opened(());
/// Inputs and their lines are on disk; the call may run.
#[derive(Debug)]
pub struct InputsSaved(());
/// The last line is on disk.
#[derive(Debug)]
pub struct Ended(());

/// One call's dump on its way to disk; `Stage` says how far it is.
#[must_use = "a dump that goes no further looks like a crash of its call"]
#[derive(Debug)]
pub struct Dump<Stage> {
    sink: Arc<dyn DumpSink>,
    slot: Box<dyn DumpSlot>,
    /// What the last line says; until the end, the first one.
    record: CallRecord,
    /// Keys of the arguments, without what is nested in them.
    arguments: Vec<String>,
    reservation: Reservation,
    /// Bytes of the place's own files: what is given back with it.
    placed_bytes: u64,
    remarks: Vec<Remark>,
    /// Why the outputs could not be written.
    outputs_fault: Option<Box<SinkError>>,
    /// The tensors of a captured call; `None` too where some memory cannot be held.
    held: Option<HeldCall>,
    stage: PhantomData<Stage>,
}

impl<Stage> Dump<Stage> {
    /// Returns the record as it stands.
    pub fn record(&self) -> &CallRecord {
        &self.record
    }

    /// Returns the place, as the record names it.
    pub fn location(&self) -> &str {
        &self.record.dump_dir
    }

    /// Returns the keys of the arguments.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    pub(crate) fn take_remarks(&mut self) -> Vec<Remark> {
        std::mem::take(&mut self.remarks)
    }

    fn into_stage<Next>(self) -> Dump<Next> {
        let Dump {
            sink,
            slot,
            record,
            arguments,
            reservation,
            placed_bytes,
            remarks,
            outputs_fault,
            held,
            stage: _,
        } = self;
        let stage = PhantomData;
        Dump { sink, slot, record, arguments, reservation, placed_bytes, remarks, outputs_fault, held, stage }
    }

    fn encode(&self, record: &CallRecord) -> Result<Line, SinkError> {
        encode(&*self.sink, record)
    }

    /// Appends the record to the call's metadata, then to the session.
    fn write_line(&mut self, line: &Line) -> Result<(), SinkError> {
        let in_metadata = self.slot.append(line)?;
        self.spend_on_place(in_metadata);
        let in_session = self.sink.log(line)?;
        self.reservation.spend(in_session);
        Ok(())
    }

    /// Writes a group's file; returns what the record says of it.
    fn put(
        &mut self,
        group: Group,
        tensors: &Described<'_>,
        plan: &FilePlan,
    ) -> Result<RecordedFile, SinkError> {
        // A panic here must not end the dump either: the call returned, and its last line has to say so.
        let written = panic_as_error(|| self.slot.put(group, &tensor_group(group, tensors), plan))?;
        self.spend_on_place(written.bytes);
        let (file, remark) = recorded_file(&self.record, group, plan, written);
        self.remarks.extend(remark);
        Ok(file)
    }

    fn spend_on_place(&mut self, bytes: u64) {
        self.reservation.spend(bytes);
        self.placed_bytes += bytes;
    }
}

impl Dump<Opened> {
    /// Opens the place of a call. `record` is the first one, but for its place and the tensors' format.
    pub(crate) fn open(
        sink: &Arc<dyn DumpSink>,
        mut record: CallRecord,
        arguments: Vec<String>,
        mut reservation: Reservation,
    ) -> Result<Dump<Opened>, NotDumped> {
        // Its place is still missing from the line. What does not fit without it needs no folder made and removed.
        let line = sink.encode(&record)?;
        if !reservation.grow(reserve_of(&line))? {
            return Err(NotDumpedCause::OverSize.into());
        }
        let slot = sink.open(&SlotName {
            timestamp: record.timestamp.clone(),
            process_id: record.process_id,
            function: record.function.name().to_owned(),
            call_sequence: record.call_sequence,
        })?;
        record.dump_dir = slot.location().to_owned();
        Ok(Dump {
            sink: sink.clone(),
            slot,
            record,
            arguments,
            reservation,
            placed_bytes: 0,
            remarks: Vec::new(),
            outputs_fault: None,
            held: None,
            stage: PhantomData,
        })
    }

    /// Writes the inputs, then their line to the call's metadata and to the session.
    ///
    /// `plan` is that of the inputs' file, for which the budget was asked; `None` where there is none: no
    /// argument is a tensor, or they are captured into a graph and may not be read.
    pub(crate) fn save_inputs(
        mut self,
        inputs: &Described<'_>,
        plan: Option<&FilePlan>,
    ) -> Result<Dump<InputsSaved>, NotDumped> {
        // A sink that panics must leave no more behind than one that fails: half a dump looks like a crash.
        let saved = panic_as_error(|| self.try_save_inputs(inputs, plan));
        match saved {
            Ok(()) => {
                self.reservation.keep_call();
                if self.record.graph_capture {
                    // The application's code may run here, and the lines are on disk already.
                    self.held = guarded(|| Ok(HeldCall::of_inputs(inputs))).ok().flatten();
                }
                Ok(self.into_stage())
            }
            Err(cause) => {
                let slot = self.slot;
                if planted::bug("slot_stays") {
                    return Err(cause.into());
                }
                let discarded = panic_as_error(|| slot.discard());
                if discarded.is_ok() {
                    self.reservation.refund(self.placed_bytes);
                }
                Err(NotDumped { cause, leftover: discarded.err().map(Box::new) })
            }
        }
    }

    fn try_save_inputs(
        &mut self,
        inputs: &Described<'_>,
        plan: Option<&FilePlan>,
    ) -> Result<(), NotDumpedCause> {
        self.record
            .files
            .extend(plan.map(|plan| planned_file(Group::Inputs, &tensor_group(Group::Inputs, inputs), plan)));
        let mut line = self.encode(&self.record)?;
        let file_bytes = plan.map_or(0, |plan| plan.bytes);
        let missing = (file_bytes + reserve_of(&line)).saturating_sub(self.reservation.unspent());
        if !self.reservation.grow(missing)? {
            return Err(NotDumpedCause::OverSize);
        }
        if planted::bug("line_before_file") {
            self.write_line(&line)?;
            return match plan {
                Some(plan) => Ok(self.put(Group::Inputs, inputs, plan).map(|_| ())?),
                None => Ok(()),
            };
        }
        if let Some(plan) = plan {
            self.remarks.extend(plan.remarks.iter().cloned());
            self.record.files = vec![self.put(Group::Inputs, inputs, plan)?];
            line = self.encode(&self.record)?;
        }
        Ok(self.write_line(&line)?)
    }
}

impl Dump<Ended> {
    /// Goes on with the dump of a call that was captured into a graph; `None` where there is nothing to flush later.
    pub(crate) fn into_captured(self) -> Option<CapturedDump> {
        let Dump { sink, slot, record, reservation, held, .. } = self;
        // One that failed has its ending, and no flush may give it another.
        let held = held.filter(|_| record.status == ExecutionStatus::GraphCapturePendingFlush)?;
        Some(CapturedDump::new(sink, slot.into_captured(), record, reservation, held))
    }

    /// Gives the error over which the outputs were left out, if that is why.
    pub(crate) fn take_outputs_fault(&mut self) -> Option<Box<SinkError>> {
        self.outputs_fault.take()
    }
}

impl Dump<InputsSaved> {
    /// Writes outputs and after-images, then the lines that say `completed`.
    ///
    /// Of a captured call nothing is written but the lines: its tensors are held.
    ///
    /// Outputs that do not fit the budget or cannot be written end the dump as `outputs_skipped`, which the
    /// returned record tells.
    pub(crate) fn complete(
        mut self,
        outputs: &Described<'_>,
        written: &Described<'_>,
    ) -> Result<Dump<Ended>, SinkError> {
        if self.record.graph_capture {
            let mut closing = self.record.clone();
            add_outputs(&mut closing, outputs, written);
            self.held = self.held.take().and_then(|held| held.with_results(outputs, written));
            if self.held.is_none() {
                self.remarks.push(not_held_remark(&self.record));
            }
            return self.end(closing);
        }
        if outputs.is_capturing() || written.is_capturing() {
            return self.skip_outputs("a CUDA graph was being captured");
        }
        match self.try_save_outputs(outputs, written) {
            Ok(line) => {
                self.write_line(&line)?;
                Ok(self.into_stage())
            }
            Err(Unsaved::NoRoom(reason)) => self.skip_outputs(&reason),
            Err(Unsaved::Fault(error)) => {
                if planted::bug("completed_without_outputs") {
                    let status = ExecutionStatus::Completed;
                    let closing = CallRecord { status, ..self.record.clone() };
                    return self.end(closing);
                }
                let reason = chain(&error);
                self.outputs_fault = Some(Box::new(error));
                self.skip_outputs(&reason)
            }
        }
    }

    /// Ends the dump of a call that returned an error or panicked.
    pub fn fail(self, error: RecordedError) -> Result<Dump<Ended>, SinkError> {
        let status = ExecutionStatus::Failed;
        let closing = CallRecord { status, error: Some(error), ..self.record.clone() };
        self.end(closing)
    }

    /// Ends the dump of a call that returned, without its outputs.
    pub fn skip_outputs(self, reason: &str) -> Result<Dump<Ended>, SinkError> {
        let status = ExecutionStatus::OutputsSkipped;
        let closing = CallRecord { status, reason: Some(reason.to_owned()), ..self.record.clone() };
        self.end(closing)
    }

    /// Gives the line to be written once all files are.
    fn try_save_outputs(
        &mut self,
        outputs: &Described<'_>,
        written: &Described<'_>,
    ) -> Result<Line, Unsaved> {
        let groups = [(Group::Outputs, outputs), (Group::ArgsAfter, written)];
        let groups = groups.into_iter().filter(|(_, tensors)| !tensors.tensors.is_empty());
        let mut plans = Vec::new();
        for (group, tensors) in groups {
            let plan = self.sink.plan(&tensor_group(group, tensors))?;
            plans.push((group, tensors, plan));
        }
        let mut completed = CallRecord { status: ExecutionStatus::Completed, ..self.record.clone() };
        add_outputs(&mut completed, outputs, written);
        let known = completed.files.len();
        completed.files.extend(
            plans
                .iter()
                .map(|(group, tensors, plan)| planned_file(*group, &tensor_group(*group, tensors), plan)),
        );
        let mut line = self.encode(&completed)?;
        let file_bytes = plans.iter().fold(0u64, |sum, (_, _, plan)| sum.saturating_add(plan.bytes));
        // What was reserved for the closing lines of a call without outputs is there for those with them, and again
        // for the others if a file cannot be written.
        let needed = file_bytes.saturating_add(2 * opening_bytes(&line));
        if !self.reservation.grow(needed.saturating_sub(self.reservation.unspent()))? {
            let reason = format!("the outputs take {file_bytes} bytes, more than the size limit leaves");
            return Err(Unsaved::NoRoom(reason));
        }
        let floor = self.reservation.limits().min_free_bytes;
        if let Err(free) = keep_free(&*self.sink, floor, needed) {
            let reason = format!(
                "the outputs take {file_bytes} bytes of the {free} that are free, {floor} are to stay free"
            );
            return Err(Unsaved::NoRoom(reason));
        }
        if planted::bug("completed_before_outputs") {
            self.write_line(&line)?;
        }
        for ((group, tensors, plan), file) in plans.iter().zip(&mut completed.files[known..]) {
            *file = self.put(*group, tensors, plan)?;
            self.remarks.extend(plan.remarks.iter().cloned());
        }
        if !plans.is_empty() {
            line = self.encode(&completed)?;
        }
        self.record = completed;
        Ok(line)
    }

    /// Writes the closing lines; where the budget has no room for them, in the short form that was reserved.
    fn end(mut self, closing: CallRecord) -> Result<Dump<Ended>, SinkError> {
        let line = self.encode(&closing)?;
        let missing = (2 * opening_bytes(&line)).saturating_sub(self.reservation.unspent());
        // Where nobody knows what is left, the short form is the one that certainly fits.
        if self.reservation.grow(missing).unwrap_or_default() {
            self.record = closing;
            self.write_line(&line)?;
            return Ok(self.into_stage());
        }
        for letters in [SHORT_TEXT, 0] {
            let short = shortened(&self.record, &closing, letters);
            let line = self.encode(&short)?;
            if 2 * opening_bytes(&line) <= self.reservation.unspent() {
                self.record = short;
                self.write_line(&line)?;
                return Ok(self.into_stage());
            }
        }
        let location = self.location().into();
        Err(SinkError::NoRoom { location })
    }
}

/// Why outputs are not on disk.
#[derive(Debug)]
enum Unsaved {
    /// There is no room for them: the reason, in words.
    NoRoom(String),
    /// They could not be written.
    Fault(SinkError),
}

impl From<SinkError> for Unsaved {
    fn from(error: SinkError) -> Unsaved {
        Unsaved::Fault(error)
    }
}

/// Spells a record; one that readers would not take is an error.
fn encode(sink: &dyn DumpSink, record: &CallRecord) -> Result<Line, SinkError> {
    let line = sink.encode(record)?;
    match line.byte_len() {
        bytes if bytes > Line::LONGEST => Err(SinkError::LineTooLong { bytes, limit: Line::LONGEST }),
        _ => Ok(line),
    }
}

fn panic_as_error<T, E: From<SinkError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    guarded(|| Ok(work())).unwrap_or_else(|panic| Err(SinkError::Panicked(panic).into()))
}

fn not_held_remark(record: &CallRecord) -> Remark {
    let text = format!(
        "{} was captured into a CUDA graph, and its tensors' memory cannot be kept: no flush will write it",
        record.function
    );
    Remark { kind: "core: not held", text }
}
