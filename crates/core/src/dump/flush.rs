//! Flushing: what the tensors of a captured call hold, written after its graph ran.
//!
//! A flush is written whole to a place of its own, which nobody changes afterwards. Then the call's own place takes its
//! files over, in the place of those of the flush before:
//!
//! ```text
//! snapshot: inputs, line, outputs, line;  call: inputs, line, outputs, line
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use super::files::{planned_file, recorded_file};
use super::held::{Held, HeldCall, Waited};
use super::room::{keep_free, opening_bytes};
use super::{encode, panic_as_error};
use crate::budget::Reservation;
use crate::dump_file::{FilePlan, Format, Line, Remark};
use crate::error::SinkError;
use crate::name::Group;
use crate::not_dumped::{NotDumped, NotDumpedCause};
use crate::ports::{CapturedSlot, DumpSink, FlushSlot};
use crate::record::{CallRecord, ExecutionStatus, GraphFlush, RecordedFile};
use crate::tensor_file::TensorGroup;

/// A part of a flush: files, and the status of the lines that speak of them and of those before.
#[derive(Debug)]
struct Part<'a> {
    status: ExecutionStatus,
    files: Vec<(Group, TensorGroup<'a>, FilePlan)>,
}

/// A flush by its number and its place.
#[derive(Debug)]
struct Flush {
    index: u64,
    location: String,
}

/// What a part came to: its own files, and its lines in the call's place and in the flush's.
#[derive(Debug)]
struct WrittenPart {
    files: Vec<RecordedFile>,
    of_call: Line,
    of_flush: Line,
}

/// The dump of a captured call, which is over: its tensors are held, and each flush shows what they hold then.
#[derive(Debug)]
pub(crate) struct CapturedDump {
    sink: Arc<dyn DumpSink>,
    slot: Box<dyn CapturedSlot>,
    /// What the call's last line said when it ended.
    record: CallRecord,
    reservation: Reservation,
    held: Arc<HeldCall>,
    /// Flushes that were tried.
    flushes: u64,
    /// The files in the call's own place, and their bytes.
    latest: HashMap<String, u64>,
    remarks: Vec<Remark>,
}

impl CapturedDump {
    pub(super) fn new(
        sink: Arc<dyn DumpSink>,
        slot: Box<dyn CapturedSlot>,
        record: CallRecord,
        mut reservation: Reservation,
        held: HeldCall,
    ) -> CapturedDump {
        reservation.release();
        let (held, latest, remarks) = (Arc::new(held), HashMap::new(), Vec::new());
        CapturedDump { sink, slot, record, reservation, held, flushes: 0, latest, remarks }
    }

    /// Returns the record as it stood when the call ended.
    pub(crate) fn record(&self) -> &CallRecord {
        &self.record
    }

    pub(crate) fn take_remarks(&mut self) -> Vec<Remark> {
        std::mem::take(&mut self.remarks)
    }

    /// Tells whether a stream records a graph with one of the tensors: then nothing may be read.
    pub(crate) fn is_capturing(&self) -> bool {
        self.held.is_capturing()
    }

    /// Counts the groups that have tensors, after-images with the outputs: what a flush writes.
    pub(crate) fn groups(&self) -> usize {
        let HeldCall { inputs, outputs, written } = &*self.held;
        usize::from(!inputs.is_empty()) + usize::from(!(outputs.is_empty() && written.is_empty()))
    }

    /// Waits for the streams of all tensors; an error tells why one cannot be read.
    pub(crate) fn wait(&self, waited: &mut Waited) -> Result<(), String> {
        self.held.wait(waited)
    }

    /// Writes what the tensors hold now. After an error readers see the flush before or this one, whole, and another may be
    /// tried.
    pub(crate) fn flush(&mut self) -> Result<(), NotDumped> {
        let flushed = self.try_flush();
        // Whatever came of it: what is reserved and not on disk is others'.
        self.reservation.release();
        flushed
    }

    fn try_flush(&mut self) -> Result<(), NotDumped> {
        let (held, index) = (self.held.clone(), self.flushes + 1);
        let flush = Flush { index, location: self.slot.flush_location(index) };
        let parts = panic_as_error(|| {
            let parts = self.parts(&held)?;
            self.make_room(&parts, &flush)?;
            Ok::<_, NotDumpedCause>(parts)
        })?;
        // Its number is used up: something of it may stay.
        self.flushes = index;
        let mut slot = panic_as_error(|| self.slot.open_flush(index))?;
        let mut bytes_there = 0;
        let written = panic_as_error(|| self.write_snapshot(&mut *slot, &parts, &flush, &mut bytes_there));
        match written {
            Ok(written) => Ok(panic_as_error(|| self.publish(&mut *slot, &written))?),
            Err(cause) => {
                let discarded = panic_as_error(|| slot.discard());
                if discarded.is_ok() {
                    self.reservation.refund(bytes_there);
                }
                Err(NotDumped { cause, leftover: discarded.err().map(Box::new) })
            }
        }
    }

    /// Plans the files. Inputs have a line of their own, as they have without a graph.
    fn parts<'a>(&self, held: &'a HeldCall) -> Result<Vec<Part<'a>>, SinkError> {
        let planned = |groups: &[(Group, &'a Held)]| {
            let mut files = Vec::new();
            for (group, tensors) in groups.iter().filter(|(_, tensors)| !tensors.is_empty()) {
                let tensors = TensorGroup { stem: group.stem(), tensors: tensors.views() };
                let plan = self.sink.plan(&tensors)?;
                files.push((*group, tensors, plan));
            }
            Ok::<_, SinkError>(files)
        };
        let inputs = planned(&[(Group::Inputs, &held.inputs)])?;
        let outputs = planned(&[(Group::Outputs, &held.outputs), (Group::ArgsAfter, &held.written)])?;
        let mut parts = vec![Part { status: ExecutionStatus::Completed, files: outputs }];
        if !inputs.is_empty() {
            parts.insert(0, Part { status: ExecutionStatus::InputsSaved, files: inputs });
        }
        Ok(parts)
    }

    /// Asks the budget for everything that the flush writes.
    fn make_room(&mut self, parts: &[Part<'_>], flush: &Flush) -> Result<(), NotDumpedCause> {
        let (mut known, mut needed) = (Vec::new(), 0u64);
        for Part { status, files } in parts {
            known.extend(files.iter().map(|(group, tensors, plan)| {
                let mut file = planned_file(*group, tensors, plan);
                file.is_unstable |= self.held.of(*group).is_unstable();
                file
            }));
            let (of_call, of_flush) = self.lines(status, &known, format_of(parts), flush)?;
            // Each file in two places, each line there and in the session.
            let files = files.iter().fold(0u64, |sum, (.., plan)| sum.saturating_add(plan.bytes));
            let lines = opening_bytes(&of_call) + opening_bytes(&of_flush);
            needed = needed.saturating_add(files.saturating_mul(2)).saturating_add(2 * lines);
        }
        if !self.reservation.grow(needed.saturating_sub(self.reservation.unspent()))? {
            return Err(NotDumpedCause::OverSize);
        }
        let floor = self.reservation.limits().min_free_bytes;
        keep_free(&*self.sink, floor, needed).map_err(NotDumpedCause::LowSpace)
    }

    /// Spells the line of a part for the call's place and for the flush's.
    fn lines(
        &self,
        status: &ExecutionStatus,
        files: &[RecordedFile],
        format: Option<Format>,
        flush: &Flush,
    ) -> Result<(Line, Line), SinkError> {
        let mut record = CallRecord { status: status.clone(), files: files.to_vec(), ..self.record.clone() };
        if let Some(format) = format {
            record.tensor_format = format.name.to_owned();
        }
        let Flush { index, location } = flush;
        let flushed = |base_dir| Some(GraphFlush { index: *index, snapshot_dir: location.clone(), base_dir });
        record.graph_flush = flushed(None);
        let of_call = encode(&*self.sink, &record)?;
        let base_dir = std::mem::replace(&mut record.dump_dir, location.clone());
        record.graph_flush = flushed(Some(base_dir));
        Ok((of_call, encode(&*self.sink, &record)?))
    }

    /// Writes the flush's own place.
    fn write_snapshot(
        &mut self,
        slot: &mut dyn FlushSlot,
        parts: &[Part<'_>],
        flush: &Flush,
        bytes_there: &mut u64,
    ) -> Result<Vec<WrittenPart>, NotDumpedCause> {
        let (mut known, mut written) = (Vec::new(), Vec::new());
        for Part { status, files: planned } in parts {
            let mut files = Vec::new();
            for (group, tensors, plan) in planned {
                let mut written = slot.put(*group, tensors, plan)?;
                written.is_unstable |= self.held.of(*group).is_unstable();
                let (file, remark) = recorded_file(&self.record, *group, plan, written);
                self.remarks.extend(plan.remarks.iter().cloned().chain(remark));
                self.reservation.spend(file.bytes);
                *bytes_there += file.bytes;
                files.push(file);
            }
            known.extend(files.iter().cloned());
            let (of_call, of_flush) = self.lines(status, &known, format_of(parts), flush)?;
            let bytes = slot.append(&of_flush)?;
            self.reservation.spend(bytes);
            *bytes_there += bytes;
            written.push(WrittenPart { files, of_call, of_flush });
        }
        Ok(written)
    }

    /// Makes the flush the call's last one.
    fn publish(&mut self, slot: &mut dyn FlushSlot, written: &[WrittenPart]) -> Result<(), SinkError> {
        for WrittenPart { files, of_call, of_flush } in written {
            for file in files {
                let bytes = slot.publish(file)?;
                self.reservation.spend(bytes);
                // What had its name is gone.
                self.reservation.refund(self.latest.insert(file.name.clone(), bytes).unwrap_or_default());
            }
            let bytes = slot.append_to_call(of_call)?;
            self.reservation.spend(bytes);
            for line in [of_call, of_flush] {
                let bytes = self.sink.log(line)?;
                self.reservation.spend(bytes);
            }
        }
        Ok(())
    }
}

/// Returns the format that the lines name: that of the first file, as without a graph.
fn format_of(parts: &[Part<'_>]) -> Option<Format> {
    parts.iter().find_map(|part| part.files.first()).map(|(.., plan)| plan.format)
}
