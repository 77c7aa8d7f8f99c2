//! The ports: what the core asks of the outside world. Adapters implement them, composition roots choose them.
//!
//! Each method says what `Ok` promises. All ports are object safe; conveniences live beside their users.

mod device;
mod flushing;
mod format;
mod host;
mod reading;
mod running;
mod writing;

pub use self::device::DeviceMemory;
pub use self::flushing::{CapturedSlot, FlushSlot};
pub use self::format::TensorSerializer;
pub use self::host::{Clock, Host};
pub use self::reading::DumpSource;
pub use self::running::{Executor, Instance};
pub use self::writing::{DumpSink, DumpSlot, LogSink, UsageCounter, UsageStore};

#[cfg(test)]
pub use self::device::MockDeviceMemory;
#[cfg(test)]
pub use self::flushing::{MockCapturedSlot, MockFlushSlot};
#[cfg(test)]
pub use self::format::MockTensorSerializer;
#[cfg(test)]
pub use self::host::{MockClock, MockHost};
#[cfg(test)]
pub use self::reading::MockDumpSource;
#[cfg(test)]
pub use self::running::{MockExecutor, MockInstance};
#[cfg(test)]
pub use self::writing::{MockDumpSink, MockDumpSlot, MockLogSink, MockUsageCounter};

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mockall::Sequence;
    use mockall::predicate::{always, eq};

    use super::*;
    use crate::arguments::Arguments;
    use crate::call::Session;
    use crate::dump_file::{FilePlan, Format, WrittenFile};
    use crate::event::Event;
    use crate::name::{FunctionName, Group};
    use crate::tensor::TensorView;
    use crate::tensor_file::{TensorGroup, TensorMap};
    use crate::value::OwnedValue;

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
            .returning(|_, _, _| Ok(WrittenFile { bytes: 64, ..WrittenFile::default() }));
        slot.expect_put()
            .with(eq(Group::Outputs), always(), always())
            .times(1)
            .in_sequence(&mut order)
            .returning(|_, _, _| Ok(WrittenFile { bytes: 32, ..WrittenFile::default() }));
        slot.expect_discard().times(1).in_sequence(&mut order).returning(|| Ok(()));

        let format = Format { name: "torch", extension: "pt", keeps_layout: true };
        let plan = FilePlan { format, bytes: 64, hash: None, remarks: Vec::new() };
        let mut slot: Box<dyn DumpSlot> = Box::new(slot);
        assert_eq!(slot.put(Group::Inputs, &group("inputs", Vec::new()), &plan).unwrap().bytes, 64);
        assert_eq!(slot.put(Group::Outputs, &group("outputs", Vec::new()), &plan).unwrap().bytes, 32);
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
