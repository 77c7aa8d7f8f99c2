//! Small promises, each by mocks of what it is about.

use std::sync::{Arc, Mutex};

use super::begin::device_memories;
use super::ledger::Ledger;
use super::tests::{
    CALLSITE, device_tensor_of, host, log, one, one_slot, plan, recorder, recorder_with, tensor,
};
use super::*;
use crate::device::Device;
use crate::dump_file::{FilePlan, Line, Remark, WrittenFile};
use crate::event::Event;
use crate::gate::FailurePolicy;
use crate::limits::Limits;
use crate::live::{ArgumentPlace, LiveResult};
use crate::name::FunctionName;
use crate::ports::{MockDeviceMemory, MockDumpSink, MockDumpSlot, MockLogSink};
use crate::record::CallRecord;
use crate::tensor::StorageId;
use crate::value::{LiveValue, Value};

/// A sink that takes one call whatever comes, but for its lines.
fn taking() -> (MockDumpSink, MockDumpSlot) {
    let (mut sink, mut slot) = (MockDumpSink::new(), MockDumpSlot::new());
    sink.expect_free_bytes().returning(|| Ok(None));
    sink.expect_log().returning(|line| Ok(line.byte_len()));
    slot.expect_location().return_const("dumps/x".to_owned());
    slot.expect_append().returning(|line| Ok(line.byte_len()));
    slot.expect_put().returning(|_, _, _| Ok(WrittenFile { bytes: 64, ..WrittenFile::default() }));
    (sink, slot)
}

#[test]
fn calls_are_numbered_from_1_for_each_name() {
    let ledger = Ledger::new(host().process(), Limits::default(), None, FailurePolicy::Skip);
    let number = |name| ledger.number(&FunctionName::new("engine", name));
    assert_eq!([number("a"), number("b"), number("a"), number("a"), number("b")], [1, 1, 2, 3, 2]);
}

#[test]
fn a_recorder_is_itself_and_its_clones_and_no_other() {
    let new = || recorder(Level::Off, MockLogSink::new(), MockDumpSink::new());
    let one = new();
    assert!(one.is(&one.clone()) && !one.is(&new()));
}

#[test]
fn the_memory_of_each_storage_is_kept_once() {
    let memory = |device| {
        let mut memory = MockDeviceMemory::new();
        memory.expect_device().return_const(device);
        memory.expect_byte_len().return_const(4usize);
        memory.expect_retain().returning(move || {
            let mut kept = MockDeviceMemory::new();
            kept.expect_device().return_const(device);
            Some(Arc::new(kept))
        });
        memory
    };
    let [first, second, third] = [Device::Cuda(0), Device::Cuda(1), Device::Cuda(0)].map(memory);
    let tensor = |id, memory| device_tensor_of(StorageId::new(id), memory);
    let arguments = LiveArguments {
        positional: vec![tensor(1, &first), Value::List(vec![tensor(2, &second), tensor(1, &first)])],
        keyword: vec![("out", tensor(3, &third))],
        ..LiveArguments::default()
    };
    let kept: Vec<_> = device_memories(&arguments).iter().map(|memory| memory.device()).collect();
    assert_eq!(kept, [Device::Cuda(0), Device::Cuda(1), Device::Cuda(0)]);
}

#[test]
fn what_a_format_remarks_on_is_told() {
    let (mut sink, slot) = taking();
    sink.expect_plan().returning(|_| {
        let remarks = vec![Remark { kind: "test", text: "strides are lost".to_owned() }];
        Ok(FilePlan { remarks, ..plan() })
    });
    sink.expect_encode().returning(|_| Ok(Line::new(b"{}\n".to_vec())));
    let (log, names) = log();
    let recorder = recorder(Level::Dumps, log, one_slot(slot, sink));
    recorder.begin(&CALLSITE, || one(tensor(&[1]))).complete(|| tensor(&[3]).into());
    let notices = names.lock().unwrap().iter().filter(|name| *name == "Notice").count();
    assert_eq!(notices, 1, "inputs and outputs have the same remark");
}

#[test]
fn a_line_that_no_reader_would_take_costs_its_call() {
    for (bytes, ending) in [(Line::LONGEST, Ending::Recorded), (Line::LONGEST + 1, Ending::NotRecorded)] {
        let (mut sink, mut slot) = taking();
        slot.expect_discard().returning(|| Ok(()));
        sink.expect_encode().returning(move |_| {
            let mut line = vec![b' '; bytes as usize];
            line[bytes as usize - 1] = b'\n';
            Ok(Line::new(line))
        });
        let recorder = recorder(Level::Dumps, log().0, one_slot(slot, sink));
        recorder.begin(&CALLSITE, || one(Value::int(1))).complete(|| Value::None.into());
        assert_eq!(recorder.health().count(ending), 1, "{bytes}");
    }
}

#[test]
fn a_nested_tensor_has_the_same_key_before_and_after_the_call() {
    let records: Arc<Mutex<Vec<CallRecord>>> = Arc::default();
    let (mut sink, slot) = taking();
    sink.expect_plan().returning(|_| Ok(plan()));
    let kept = records.clone();
    sink.expect_encode().returning(move |record| {
        kept.lock().unwrap().push(record.clone());
        Ok(Line::new(b"{}\n".to_vec()))
    });
    let recorder = recorder(Level::Dumps, log().0, one_slot(slot, sink));
    let list = || -> LiveValue<'_> { Value::List(vec![tensor(&[1]), tensor(&[2])]) };
    // The key that the list's second tensor would have is taken.
    let keyword = vec![("a", list()), ("a__1", tensor(&[3]))];
    let call = recorder.begin(&CALLSITE, || LiveArguments { keyword, ..LiveArguments::default() });
    call.complete(|| LiveResult { value: Value::None, written: vec![(ArgumentPlace::Keyword("a"), list())] });
    let records = records.lock().unwrap();
    let info = &records.last().unwrap().tensor_info;
    assert_eq!(info.args_after_keys.len(), 2);
    for key in &info.args_after_keys {
        assert!(info.input_keys.contains(key) && key != "kwarg_a__1", "{key} of {:?}", info.input_keys);
    }
}

#[test]
fn a_reason_that_the_size_limit_has_no_room_for_is_cut_and_not_lost() {
    let (mut sink, mut slot) = (MockDumpSink::new(), MockDumpSlot::new());
    sink.expect_free_bytes().returning(|| Ok(None));
    sink.expect_plan().returning(|_| Ok(plan()));
    sink.expect_encode().returning(|record| {
        let line = format!("{} {}\n", record.status, record.reason.as_deref().unwrap_or_default());
        Ok(Line::new(line.into_bytes()))
    });
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let logged = lines.clone();
    sink.expect_log().returning(move |line| {
        logged.lock().unwrap().push(String::from_utf8_lossy(line.as_bytes()).into_owned());
        Ok(line.byte_len())
    });
    slot.expect_location().return_const("dumps/x".to_owned());
    slot.expect_append().returning(|line| Ok(line.byte_len()));
    slot.expect_put().returning(|_, _, _| {
        let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        Err(SinkError::Io { act: "create", path: "long/".repeat(1000).into(), source })
    });
    // Room for the lines of a call whose ending is short, and for the outputs' file.
    let limits = Limits { max_bytes: 2 * 15 + 2 * (15 + 1024) + 64, ..Limits::default() };
    let settings = Settings { level: Level::Dumps, limits, ..Settings::default() };
    let recorder = recorder_with(settings, log().0, one_slot(slot, sink));
    recorder.begin(&CALLSITE, || one(Value::int(1))).complete(|| tensor(&[3]).into());
    let cut = "failed to create long/long/long/long";
    let ended = format!("outputs_skipped {cut}...\n");
    assert_eq!(*lines.lock().unwrap(), ["inputs_saved \n".to_owned(), ended]);
}

#[test]
fn a_call_of_which_one_event_is_lost_is_not_recorded() {
    for (lost, ending) in [
        (None, Ending::Logged),
        (Some("CallStarted"), Ending::NotRecorded),
        (Some("CallReturned"), Ending::NotRecorded),
    ] {
        let mut log = MockLogSink::new();
        log.expect_emit().returning(move |event| match lost {
            Some(lost) if format!("{event:?}").starts_with(lost) => Err(SinkError::Panicked("gone".into())),
            Some(_) | None => Ok(()),
        });
        let recorder = recorder(Level::Values, log, MockDumpSink::new());
        recorder.begin(&CALLSITE, || one(Value::int(1))).complete(|| Value::None.into());
        assert_eq!(recorder.health().count(ending), 1, "{lost:?}");
    }
}

#[test]
fn the_log_says_where_a_dump_lies() {
    let (mut sink, slot) = taking();
    sink.expect_plan().returning(|_| Ok(plan()));
    sink.expect_encode().returning(|_| Ok(Line::new(b"{}\n".to_vec())));
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let (mut log, kept) = (MockLogSink::new(), told.clone());
    log.expect_emit().returning(move |event| {
        if let Event::InputsDumped { location, .. } | Event::OutputsDumped { location, .. } = event {
            kept.lock().unwrap().push((*location).to_owned());
        }
        Ok(())
    });
    let recorder = recorder(Level::Dumps, log, one_slot(slot, sink));
    recorder.begin(&CALLSITE, || one(tensor(&[1]))).complete(|| tensor(&[3]).into());
    assert_eq!(*told.lock().unwrap(), ["dumps/x", "dumps/x"]);
}
