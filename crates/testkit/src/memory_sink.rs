//! A sink in memory that remembers the order of everything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, mem};

use callbox_core::{
    CallRecord, CapturedSlot, DumpSink, DumpSlot, FilePlan, FlushSlot, Format, FormatError, Group, Line,
    RecordedFile, SinkError, SlotName, TensorBuf, TensorGroup, TensorView, Usage, UsageCounter, UsageStore,
    WrittenFile,
};

/// The format of a file in memory.
const FORMAT: Format = Format { name: "memory", extension: "memory", keeps_layout: false };

/// One operation that a [`MemorySink`] was asked for and did.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A file was planned.
    Plan,
    /// A place was opened.
    Open {
        /// The place.
        place: String,
    },
    /// A file was written.
    Put {
        /// The place.
        place: String,
        /// Whose tensors.
        group: Group,
        /// Copies of the tensors by their keys, contiguous.
        tensors: Vec<(String, TensorBuf)>,
    },
    /// A file of a flush became one of the call's place.
    Publish {
        /// The place.
        place: String,
        /// That of the flush.
        from: String,
        /// The file's name.
        file: String,
    },
    /// A record was appended to a place's own.
    Append {
        /// The place.
        place: String,
        /// The record.
        record: Box<CallRecord>,
    },
    /// A record was appended to the session's index.
    Log {
        /// The record.
        record: Box<CallRecord>,
    },
    /// A place was given up.
    Discard {
        /// The place.
        place: String,
    },
}

/// A [`DumpSink`] whose dumps are its history: what it holds after any operation is what the operations up to there
/// made. Clones are the same sink.
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    usage: Mutex<Usage>,
    trace: Mutex<Trace>,
    /// The records behind the lines that were encoded; a line begins with its place here.
    records: Mutex<Vec<CallRecord>>,
    places: AtomicUsize,
}

#[derive(Debug, Default)]
struct Trace {
    done: Vec<Operation>,
    /// Operations until one fails, and how; `None` if none shall.
    fault: Option<(usize, Fault)>,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With an error, and without effect.
    Error,
    /// With an error, although it took effect: a failed sync, say.
    ErrorAfterEffect,
    /// With a panic, and without effect.
    Panic,
}

impl MemorySink {
    /// Lets the operation number `n` from now fail, counted from 1, and none after it.
    pub fn fail_at(&self, n: usize, fault: Fault) {
        locked(&self.shared.trace).fault = n.checked_sub(1).map(|n| (n, fault));
    }

    /// Returns what was done, in order. What failed is not in it.
    pub fn operations(&self) -> Vec<Operation> {
        locked(&self.shared.trace).done.clone()
    }

    /// Does an operation, unless it shall fail.
    fn carry_out(&self, act: &'static str, operation: Operation) -> Result<(), SinkError> {
        let mut trace = locked(&self.shared.trace);
        let fault = match &mut trace.fault {
            Some((0, fault)) => Some(*fault),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        match fault {
            None => trace.done.push(operation),
            Some(fault) => {
                trace.fault = None;
                if fault == Fault::ErrorAfterEffect {
                    trace.done.push(operation);
                }
                // The lock must not be poisoned by it.
                drop(trace);
                assert_ne!(fault, Fault::Panic, "the test asked for it");
                let source = io::Error::other("the test asked for it");
                return Err(SinkError::Io { act, path: "memory".into(), source });
            }
        }
        Ok(())
    }

    /// Finds the record that a line was made from.
    fn record_of(&self, line: &Line) -> Box<CallRecord> {
        let text = String::from_utf8_lossy(line.as_bytes());
        let place = text.split_once(' ').and_then(|(place, _)| place.parse::<usize>().ok());
        let records = locked(&self.shared.records);
        let record = place.and_then(|place| records.get(place));
        Box::new(record.expect("a line was encoded by this sink").clone())
    }
}

impl DumpSink for MemorySink {
    fn plan<'a>(&self, tensors: &'a TensorGroup<'a>) -> Result<FilePlan, SinkError> {
        self.carry_out("plan", Operation::Plan)?;
        Ok(FilePlan { format: FORMAT, bytes: byte_len(tensors), hash: None, remarks: Vec::new() })
    }

    fn open(&self, name: &SlotName) -> Result<Box<dyn DumpSlot>, SinkError> {
        // A number of its own in front: names may repeat.
        let number = self.shared.places.fetch_add(1, Ordering::Relaxed);
        let place = format!("memory/{number}/{name}");
        self.carry_out("open", Operation::Open { place: place.clone() })?;
        Ok(Box::new(MemorySlot { sink: self.clone(), place }))
    }

    fn encode(&self, record: &CallRecord) -> Result<Line, SinkError> {
        let mut records = locked(&self.shared.records);
        let number = records.len();
        records.push(record.clone());
        // The record's text gives the line a length that grows with what the record holds.
        Ok(Line::new(format!("{number:08} {record:?}\n").into_bytes()))
    }

    fn log(&self, line: &Line) -> Result<u64, SinkError> {
        self.carry_out("log", Operation::Log { record: self.record_of(line) })?;
        Ok(line.byte_len())
    }

    fn free_bytes(&self) -> Result<Option<u64>, SinkError> {
        Ok(None)
    }
}

impl UsageStore for MemorySink {
    fn counter(&self) -> Result<Arc<dyn UsageCounter>, SinkError> {
        Ok(Arc::new(self.clone()))
    }
}

impl UsageCounter for MemorySink {
    fn take(&self, amount: Usage, most: Usage) -> Result<Option<Usage>, SinkError> {
        let mut used = locked(&self.shared.usage);
        let sum = used.plus(amount, most);
        *used = sum.unwrap_or(*used);
        Ok(sum)
    }

    fn give_back(&self, amount: Usage) -> Result<(), SinkError> {
        let mut used = locked(&self.shared.usage);
        *used = used.minus(amount);
        Ok(())
    }
}

/// A place in memory.
#[derive(Debug)]
struct MemorySlot {
    sink: MemorySink,
    place: String,
}

impl DumpSlot for MemorySlot {
    fn location(&self) -> &str {
        &self.place
    }

    fn put<'a>(
        &mut self,
        group: Group,
        tensors: &'a TensorGroup<'a>,
        plan: &FilePlan,
    ) -> Result<WrittenFile, SinkError> {
        let copies = tensors.tensors.iter().map(|(key, tensor)| Ok(((*key).to_owned(), copy(tensor)?)));
        let tensors_copied = copies.collect::<Result<_, FormatError>>()?;
        if plan.bytes != byte_len(tensors) {
            let reason = format!("{} bytes where {} were planned", byte_len(tensors), plan.bytes);
            return Err(SinkError::Format(FormatError::Inconsistent(reason)));
        }
        let put = Operation::Put { place: self.place.clone(), group, tensors: tensors_copied };
        self.sink.carry_out("put", put)?;
        Ok(WrittenFile { bytes: plan.bytes, ..WrittenFile::default() })
    }

    fn append(&mut self, line: &Line) -> Result<u64, SinkError> {
        let record = self.sink.record_of(line);
        self.sink.carry_out("append", Operation::Append { place: self.place.clone(), record })?;
        Ok(line.byte_len())
    }

    fn into_captured(self: Box<Self>) -> Box<dyn CapturedSlot> {
        self
    }

    fn discard(mut self: Box<Self>) -> Result<(), SinkError> {
        let place = mem::take(&mut self.place);
        self.sink.carry_out("discard", Operation::Discard { place })
    }
}

impl CapturedSlot for MemorySlot {
    fn flush_location(&self, index: u64) -> String {
        format!("{}/flush/{index}", self.place)
    }

    fn open_flush(&mut self, index: u64) -> Result<Box<dyn FlushSlot>, SinkError> {
        let place = self.flush_location(index);
        self.sink.carry_out("open", Operation::Open { place: place.clone() })?;
        let slot = MemorySlot { sink: self.sink.clone(), place };
        Ok(Box::new(MemoryFlush { of_call: self.place.clone(), slot: Box::new(slot) }))
    }
}

/// The place of a flush, and that of its call.
#[derive(Debug)]
struct MemoryFlush {
    of_call: String,
    slot: Box<MemorySlot>,
}

impl FlushSlot for MemoryFlush {
    fn put<'a>(
        &mut self,
        group: Group,
        tensors: &'a TensorGroup<'a>,
        plan: &FilePlan,
    ) -> Result<WrittenFile, SinkError> {
        self.slot.put(group, tensors, plan)
    }

    fn append(&mut self, line: &Line) -> Result<u64, SinkError> {
        self.slot.append(line)
    }

    fn publish(&mut self, file: &RecordedFile) -> Result<u64, SinkError> {
        let (place, from) = (self.of_call.clone(), self.slot.place.clone());
        self.slot.sink.carry_out("publish", Operation::Publish { place, from, file: file.name.clone() })?;
        Ok(file.bytes)
    }

    fn append_to_call(&mut self, line: &Line) -> Result<u64, SinkError> {
        let record = self.slot.sink.record_of(line);
        self.slot.sink.carry_out("append", Operation::Append { place: self.of_call.clone(), record })?;
        Ok(line.byte_len())
    }

    fn discard(self: Box<Self>) -> Result<(), SinkError> {
        self.slot.discard()
    }
}

fn byte_len(tensors: &TensorGroup<'_>) -> u64 {
    tensors.tensors.iter().map(|(key, tensor)| key.len() as u64 + tensor.byte_len()).sum()
}

fn copy(tensor: &TensorView<'_>) -> Result<TensorBuf, FormatError> {
    let mut elements = Vec::new();
    tensor.for_each_piece(&mut |piece| -> Result<(), FormatError> {
        elements.extend_from_slice(piece);
        Ok(())
    })?;
    let copy = TensorBuf::from_elements(tensor.dtype, tensor.layout.shape(), elements)
        .expect("the elements are those of the shape");
    let mut flags = tensor.flags;
    // The pieces are the logical elements.
    (flags.conj, flags.neg) = (false, false);
    Ok(copy.with_flags(flags).with_device(tensor.device))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, ExecutionStatus};

    use super::*;
    use crate::sample;

    /// One call; returns what was done, and whether all of it could be.
    fn record_a_call(sink: &MemorySink) -> Result<(), SinkError> {
        let tensor = TensorBuf::from_f32(DType::Float32, &[2], &[1.0, 2.0]).unwrap();
        let tensors = TensorGroup { stem: "inputs", tensors: vec![("arg_0", tensor.as_view())] };
        let plan = sink.plan(&tensors)?;
        let name = SlotName::parse("20260101_000000_000_pid1_f_call0001").unwrap();
        let mut slot = sink.open(&name)?;
        slot.put(Group::Inputs, &tensors, &plan)?;
        let line = sink.encode(&sample::record("m", "f"))?;
        slot.append(&line)?;
        sink.log(&line)?;
        slot.discard()
    }

    #[test]
    fn operations_are_remembered_in_their_order_with_what_they_wrote() {
        let sink = MemorySink::default();
        record_a_call(&sink).unwrap();
        let operations = sink.operations();
        let [
            Operation::Plan,
            Operation::Open { .. },
            Operation::Put { group: Group::Inputs, tensors, .. },
            Operation::Append { .. },
            Operation::Log { record },
            Operation::Discard { .. },
        ] = &operations[..]
        else {
            panic!("{operations:?}");
        };
        assert_eq!((tensors[0].0.as_str(), tensors[0].1.to_f32().unwrap()), ("arg_0", vec![1.0, 2.0]));
        assert_eq!(record.status, ExecutionStatus::Completed);
    }

    #[test]
    fn each_operation_can_be_made_to_fail_once() {
        for n in 1..=6 {
            let sink = MemorySink::default();
            sink.fail_at(n, Fault::Error);
            let error = record_a_call(&sink).unwrap_err();
            assert!(error.to_string().starts_with("failed to "), "{error}");
            assert_eq!(sink.operations().len(), n - 1);
            record_a_call(&sink).unwrap();
        }
    }
}
