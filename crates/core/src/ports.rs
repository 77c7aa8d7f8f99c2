//! The ports: what the core asks of the outside world. Adapters implement them, composition roots choose them.
//!
//! Each method says what `Ok` promises. All ports are object safe; conveniences live beside their users.

use std::fmt::Debug;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;

use crate::arguments::Arguments;
use crate::call::{DumpedCall, LoadedRecord, Session};
use crate::contract::Contract;
use crate::device::Device;
use crate::dump_file::{FilePlan, Format, Line};
use crate::error::{ExecError, FormatError, SinkError, SourceError, StageError};
use crate::event::Event;
use crate::layout::Layout;
use crate::name::{FunctionName, Group, SlotName};
use crate::process::Process;
use crate::record::CallRecord;
use crate::statistics::Stats;
use crate::tensor::{TensorGroup, TensorMap};
use crate::value::OwnedValue;

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
}

/// The place of one call's dump.
#[cfg_attr(test, mockall::automock)]
pub trait DumpSlot: Debug + Send {
    /// Returns the place as a record names it in `dump_dir`.
    fn location(&self) -> &str;
    /// Writes a group's tensors as planned. `Ok` gives the bytes on disk: the whole file is visible under its
    /// final name; an error leaves nothing visible.
    fn put<'a>(
        &mut self,
        group: Group,
        tensors: &'a TensorGroup<'a>,
        plan: &FilePlan,
    ) -> Result<u64, SinkError>;
    /// Appends a line to the call's metadata. `Ok` gives the bytes written: the whole line is there, in one
    /// piece, behind everything that was put before it.
    fn append(&mut self, line: &Line) -> Result<u64, SinkError>;
    /// Gives the place up. `Ok`: nothing of it is left.
    fn discard(self: Box<Self>) -> Result<(), SinkError>;
}

/// One file format for tensors, both directions.
#[cfg_attr(test, mockall::automock)]
pub trait TensorSerializer: Debug + Send + Sync {
    /// Returns the format's name, its file extension and what it keeps.
    fn format(&self) -> Format;
    /// Plans a file without reading an element. `Ok` tells its exact size, and that every tensor can be held.
    fn plan<'a>(&self, group: &'a TensorGroup<'a>) -> Result<FilePlan, FormatError>;
    /// Writes a whole file. `Ok`: [`TensorSerializer::decode`] gives back equal tensors; an error may have
    /// left a part in `out`.
    fn encode<'a>(&self, group: &'a TensorGroup<'a>, out: &'a mut dyn Write) -> Result<(), FormatError>;
    /// Looks at the first bytes of a file, 512 or all that it has. An error: `decode` would refuse the file,
    /// whatever follows; so a large file of something else need not be read.
    fn recognise(&self, head: &[u8]) -> Result<(), FormatError>;
    /// Reads a whole file. `Ok`: every tensor lies inside `bytes` (or a copy where the format needs one),
    /// checksums were verified, and nothing in the file was executed or looked up as code.
    fn decode(&self, bytes: Bytes) -> Result<TensorMap, FormatError>;
}

/// Gives recorded calls back; reading is another role than writing.
#[cfg_attr(test, mockall::automock)]
pub trait DumpSource: Debug + Send + Sync {
    /// Lists the calls in recorded order. `Ok`: every call folder appears once, whatever its state.
    fn calls(&self) -> Result<Session, SourceError>;
    /// Reads a call's own record. `Ok`: the last whole line of its folder.
    fn record(&self, call: &DumpedCall) -> Result<LoadedRecord, SourceError>;
    /// Loads a group's tensors; `None` where the call has no such file. `Ok`: decoded and verified.
    fn load(&self, call: &DumpedCall, group: Group) -> Result<Option<TensorMap>, SourceError>;
}

/// Runs functions by name.
#[cfg_attr(test, mockall::automock)]
pub trait Executor: Debug + Send {
    /// Returns the device that calls run on.
    fn device(&self) -> Device;
    /// Describes a function or method; `None`: this executor does not have it.
    fn contract(&self, function: &FunctionName) -> Option<Contract>;
    /// Runs a function. `Ok`: the result, with the arguments written that its contract names.
    fn call(&mut self, function: &FunctionName, arguments: &mut Arguments) -> Result<OwnedValue, ExecError>;
    /// Builds the object of a class from its constructor's arguments.
    fn construct(
        &mut self,
        constructor: &FunctionName,
        arguments: &mut Arguments,
    ) -> Result<Box<dyn Instance>, ExecError>;
}

/// An object with methods, built by [`Executor::construct`].
#[cfg_attr(test, mockall::automock)]
pub trait Instance: Debug + Send {
    /// Runs a method. `Ok`: the result; the object's state is as the method leaves it.
    fn call(&mut self, method: &str, arguments: &mut Arguments) -> Result<OwnedValue, ExecError>;
    /// Copies the object: what is done to the copy leaves the original as it is.
    fn duplicate(&self) -> Box<dyn Instance>;
}

/// Device bytes, readable in pieces.
#[cfg_attr(test, mockall::automock)]
pub trait DeviceMemory: Debug + Send + Sync {
    /// Returns the device.
    fn device(&self) -> Device;
    /// Returns the size in bytes.
    fn byte_len(&self) -> usize;
    /// Copies bytes out. `Ok`: `out` holds what the memory held after the owner's stream had finished.
    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), StageError>;
    /// Tells whether the owner's stream is recording a graph: then nothing may be read.
    fn capturing(&self) -> bool;
    /// Computes statistics on the device, where it can.
    fn statistics(&self, view: &Layout) -> Option<Stats>;
    /// Keeps the memory alive for a dump that is deferred until a graph has run.
    fn retain(&self) -> Option<Arc<dyn DeviceMemory>>;
}

/// Tells the time.
///
/// ```
/// use callbox_core::Clock;
/// use time::OffsetDateTime;
///
/// /// A clock that stands still, for tests.
/// #[derive(Debug)]
/// struct FixedClock;
///
/// impl Clock for FixedClock {
///     fn now(&self) -> OffsetDateTime {
///         OffsetDateTime::UNIX_EPOCH
///     }
/// }
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait Clock: Debug + Send + Sync {
    /// Returns the present moment in local time.
    fn now(&self) -> OffsetDateTime;
}

/// Tells who records.
#[cfg_attr(test, mockall::automock)]
pub trait Host: Debug + Send + Sync {
    /// Returns the identity of the present process: another one after a fork.
    fn process(&self) -> Arc<Process>;
}

#[cfg(test)]
mod tests {
    use mockall::Sequence;
    use mockall::predicate::{always, eq};

    use super::*;
    use crate::tensor::TensorView;

    fn group<'a>(stem: &'a str, tensors: Vec<(&'a str, TensorView<'a>)>) -> TensorGroup<'a> {
        TensorGroup { stem, tensors }
    }

    #[test]
    fn a_slot_can_be_mocked_and_its_order_checked() {
        let mut order = Sequence::new();
        let mut slot = MockDumpSlot::new();
        slot.expect_put()
            .with(eq(Group::Inputs), always(), always())
            .times(1)
            .in_sequence(&mut order)
            .returning(|_, _, _| Ok(64));
        slot.expect_put()
            .with(eq(Group::Outputs), always(), always())
            .times(1)
            .in_sequence(&mut order)
            .returning(|_, _, _| Ok(32));
        slot.expect_discard().times(1).in_sequence(&mut order).returning(|| Ok(()));

        let format = Format { name: "torch", extension: "pt", keeps_layout: true };
        let plan = FilePlan { format, bytes: 64, remarks: Vec::new() };
        let mut slot: Box<dyn DumpSlot> = Box::new(slot);
        assert_eq!(slot.put(Group::Inputs, &group("inputs", Vec::new()), &plan).unwrap(), 64);
        assert_eq!(slot.put(Group::Outputs, &group("outputs", Vec::new()), &plan).unwrap(), 32);
        slot.discard().unwrap();
    }

    #[test]
    fn every_port_can_be_mocked_and_used_as_an_object() {
        let mut log = MockLogSink::new();
        log.expect_emit().returning(|_| Ok(()));
        let log: Box<dyn LogSink> = Box::new(log);
        log.emit(&Event::Notice { text: "a sentence" }).unwrap();

        let mut serializer = MockTensorSerializer::new();
        serializer.expect_decode().returning(|_| Ok(TensorMap::default()));
        let serializer: Box<dyn TensorSerializer> = Box::new(serializer);
        assert!(serializer.decode(Bytes::new()).unwrap().is_empty());

        let mut source = MockDumpSource::new();
        source.expect_calls().returning(|| Ok(Session::default()));
        let source: Box<dyn DumpSource> = Box::new(source);
        assert!(source.calls().unwrap().calls.is_empty());

        let mut executor = MockExecutor::new();
        executor.expect_construct().returning(|_, _| {
            let mut instance = MockInstance::new();
            instance.expect_call().returning(|_, _| Ok(OwnedValue::None));
            Ok(Box::new(instance))
        });
        let mut executor: Box<dyn Executor> = Box::new(executor);
        let name = FunctionName::new("module", "Class.__init__");
        let mut instance = executor.construct(&name, &mut Arguments::default()).unwrap();
        assert!(matches!(instance.call("run", &mut Arguments::default()), Ok(OwnedValue::None)));

        let mut memory = MockDeviceMemory::new();
        memory.expect_capturing().returning(|| true);
        let memory: Box<dyn DeviceMemory> = Box::new(memory);
        assert!(memory.capturing());

        let _: (Box<dyn DumpSink>, Box<dyn Clock>, Box<dyn Host>) =
            (Box::new(MockDumpSink::new()), Box::new(MockClock::new()), Box::new(MockHost::new()));
    }
}
