//! Order and silence, by mocks; what holds for any program is in the workspace's property tests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use mockall::Sequence;
use time::OffsetDateTime;

use super::*;
use crate::device::Device;
use crate::dtype::DType;
use crate::dump_file::{FilePlan, Format, Line, WrittenFile};
use crate::error::StageError;
use crate::layout::Layout;
use crate::name::Group;
use crate::ports::{
    DeviceMemory, MockClock, MockDeviceMemory, MockDumpSink, MockDumpSlot, MockHost, MockLogSink,
};
use crate::process::Process;
use crate::record::RecordedError;
use crate::tensor::{StorageBytes, StorageId, StorageView, TensorView};
use crate::value::{LiveValue, Value};

pub(super) static CALLSITE: Callsite = Callsite::new("engine::norm", "rms_norm", "(x)");

fn clock() -> Arc<dyn Clock> {
    let mut clock = MockClock::new();
    clock.expect_now().returning(|| OffsetDateTime::UNIX_EPOCH);
    Arc::new(clock)
}

pub(super) fn host() -> Arc<dyn Host> {
    let process = Arc::new(Process { id: 7, host: "node".into(), token: "01".into() });
    let mut host = MockHost::new();
    host.expect_process().returning(move || process.clone());
    Arc::new(host)
}

pub(super) fn recorder(level: Level, log: MockLogSink, dumps: MockDumpSink) -> Recorder {
    recorder_with(Settings { level, ..Settings::default() }, log, dumps)
}

pub(super) fn recorder_with(settings: Settings, log: MockLogSink, dumps: MockDumpSink) -> Recorder {
    let (log, dumps): (Arc<dyn LogSink>, Arc<dyn DumpSink>) = (Arc::new(log), Arc::new(dumps));
    Recorder::new(
        settings,
        Adapters { log: Some(log), dumps: Some(dumps), usage: None, clock: clock(), host: host() },
    )
}

/// A log that takes everything and keeps the names of the events.
pub(super) fn log() -> (MockLogSink, Arc<Mutex<Vec<String>>>) {
    let names: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = names.clone();
    let mut log = MockLogSink::new();
    log.expect_emit().returning(move |event| {
        let name = format!("{event:?}");
        let name = name.split([' ', '{']).next().unwrap().to_owned();
        kept.lock().unwrap().push(name);
        Ok(())
    });
    (log, names)
}

pub(super) fn plan() -> FilePlan {
    let format = Format { name: "torch", extension: "pt", keeps_layout: true };
    FilePlan { format, bytes: 64, hash: None, remarks: Vec::new() }
}

fn written() -> WrittenFile {
    WrittenFile { bytes: 64, ..WrittenFile::default() }
}

/// A sink that takes one call, in this order and no other.
fn ordered_sink(groups: &'static [Group]) -> MockDumpSink {
    let mut order = Sequence::new();
    let (mut sink, mut slot) = (MockDumpSink::new(), MockDumpSlot::new());
    sink.expect_plan().returning(|_| Ok(plan()));
    sink.expect_free_bytes().returning(|| Ok(None));
    sink.expect_encode().returning(|_| Ok(Line::new(b"{}\n".to_vec())));
    slot.expect_location().return_const("dumps/x".to_owned());
    for group in groups {
        slot.expect_put()
            .withf(move |put, _, _| put == group)
            .times(1)
            .in_sequence(&mut order)
            .returning(|_, _, _| Ok(written()));
        slot.expect_append().times(1).in_sequence(&mut order).returning(|_| Ok(3));
        sink.expect_log().times(1).in_sequence(&mut order).returning(|_| Ok(3));
    }
    let slot = Mutex::new(Some(slot));
    sink.expect_open().times(1).returning(move |_| Ok(Box::new(slot.lock().unwrap().take().unwrap())));
    sink
}

pub(super) fn tensor(bytes: &[u8]) -> LiveValue<'_> {
    Value::Tensor(TensorView::new(DType::UInt8, Layout::contiguous(&[bytes.len()]).unwrap(), bytes).unwrap())
}

pub(super) fn one<'a>(value: LiveValue<'a>) -> LiveArguments<'a> {
    LiveArguments { positional: vec![value], ..LiveArguments::default() }
}

#[test]
fn a_level_of_zero_calls_no_port_and_asks_for_no_value() {
    let adapters = Adapters {
        log: Some(Arc::new(MockLogSink::new())),
        dumps: Some(Arc::new(MockDumpSink::new())),
        usage: None,
        clock: Arc::new(MockClock::new()),
        host: Arc::new(MockHost::new()),
    };
    let recorder = Recorder::new(Settings::default(), adapters);
    let call = recorder.begin(&CALLSITE, || panic!("nobody needs the arguments"));
    let (result, call) = call.run(|| 5);
    call.complete(|| panic!("nobody needs the result"));
    assert_eq!((result, recorder.health().reached), (5, 0));
}

#[test]
fn level_1_names_the_call_and_asks_for_no_value() {
    let (log, names) = log();
    let recorder = recorder(Level::Names, log, MockDumpSink::new());
    let call = recorder.begin(&CALLSITE, || panic!("nobody needs the arguments"));
    call.complete(|| panic!("nobody needs the result"));
    assert_eq!(*names.lock().unwrap(), ["Started", "CallNamed"]);
    assert_eq!(recorder.health().count(Ending::Logged), 1);
}

#[test]
fn inputs_and_their_lines_come_before_the_call_and_outputs_and_theirs_after_it() {
    let (log, names) = log();
    let recorder = recorder(Level::Dumps, log, ordered_sink(&[Group::Inputs, Group::Outputs]));
    let call = recorder.begin(&CALLSITE, || one(tensor(&[1, 2])));
    let ((), call) = call.run(|| names.lock().unwrap().push("the call".to_owned()));
    call.complete(|| tensor(&[3]).into());
    assert_eq!(
        *names.lock().unwrap(),
        ["Started", "InputsDumped", "CallStarted", "the call", "CallReturned", "OutputsDumped"]
    );
    assert_eq!(recorder.health().count(Ending::Recorded), 1);
}

#[test]
fn u05_an_error_and_a_panic_are_recorded_and_go_on() {
    for panics in [false, true] {
        let (log, names) = log();
        let recorder = recorder(Level::Values, log, MockDumpSink::new());
        let call = recorder.begin(&CALLSITE, || one(tensor(&[1])));
        if panics {
            let panic = catch_unwind(AssertUnwindSafe(|| {
                call.run(|| panic!("out of range"));
            }));
            assert_eq!(panic_text(&*panic.unwrap_err()), "out of range");
        } else {
            call.fail(|| RecordedError {
                kind: "error".to_owned(),
                type_name: "E".to_owned(),
                text: "no".to_owned(),
            });
        }
        assert_eq!(*names.lock().unwrap(), ["Started", "CallStarted", "CallFailed"], "panics: {panics}");
    }
}

#[test]
fn a_panic_is_recorded_with_the_type_of_what_was_thrown() {
    let type_of = |panics: fn()| panic_type(&*catch_unwind(panics).unwrap_err());
    assert_eq!(type_of(|| panic!("plain")), "&str");
    assert_eq!(type_of(|| panic!("{}", 5)), "String");
    assert_eq!(type_of(|| std::panic::panic_any(5)), "unknown");
}

#[test]
fn a_call_that_nobody_ends_is_abandoned() {
    let (log, _) = log();
    let recorder = recorder(Level::Values, log, MockDumpSink::new());
    drop(recorder.begin(&CALLSITE, LiveArguments::default));
    assert_eq!(recorder.health().count(Ending::Abandoned), 1);
}

#[test]
fn u31_values_that_panic_while_they_are_described_cost_their_call_alone() {
    let (log, names) = log();
    let recorder = recorder(Level::Values, log, MockDumpSink::new());
    let call = recorder.begin(&CALLSITE, || panic!("no such tensor"));
    let (result, call) = call.run(|| 5);
    call.complete(|| Value::int(result).into());
    assert_eq!(recorder.health().count(Ending::NotRecorded), 1);
    assert_eq!(recorder.health().faults[0].first, "engine.norm.rms_norm: panicked: no such tensor");
    assert_eq!(*names.lock().unwrap(), ["Started", "Notice"]);
}

#[test]
fn nothing_is_read_while_a_graph_is_captured() {
    let mut memory = capturing();
    memory.expect_retain().returning(|| None);
    let (log, _) = log();
    let (mut sink, mut slot) = (MockDumpSink::new(), MockDumpSlot::new());
    sink.expect_plan().returning(|_| Ok(plan()));
    sink.expect_free_bytes().returning(|| Ok(None));
    sink.expect_encode().returning(|record| {
        assert!(record.graph_capture);
        Ok(Line::new(format!("{}\n", record.status).into_bytes()))
    });
    slot.expect_location().return_const("dumps/x".to_owned());
    let pending = |line: &Line| line.as_bytes() == b"graph_capture_pending_flush\n";
    slot.expect_append().times(2).withf(pending).returning(|_| Ok(3));
    sink.expect_log().times(2).withf(pending).returning(|_| Ok(3));
    let recorder = recorder(Level::Dumps, log, one_slot(slot, sink));
    let call = recorder.begin(&CALLSITE, || one(device_tensor(&memory)));
    call.complete(|| Value::None.into());
    assert_eq!(recorder.health().count(Ending::Captured), 1);
}

#[test]
fn u06_a_call_whose_stream_fails_afterwards_is_never_completed() {
    let mut retained = MockDeviceMemory::new();
    retained.expect_capturing().return_const(false);
    retained.expect_read().times(1).returning(|_, _| Err(StageError::Device("an illegal address".into())));
    let retained: Arc<dyn DeviceMemory> = Arc::new(retained);
    let mut memory = MockDeviceMemory::new();
    memory.expect_capturing().return_const(false);
    memory.expect_byte_len().return_const(4usize);
    memory.expect_retain().returning(move || Some(retained.clone()));

    let (log, _) = log();
    let failed = Arc::new(Mutex::new(0));
    let seen = failed.clone();
    let (mut sink, mut slot) = (MockDumpSink::new(), MockDumpSlot::new());
    sink.expect_plan().returning(|_| Ok(plan()));
    sink.expect_free_bytes().returning(|| Ok(None));
    sink.expect_encode().returning(move |record| {
        *seen.lock().unwrap() += usize::from(record.status.as_str() == "failed");
        Ok(Line::new(b"{}\n".to_vec()))
    });
    slot.expect_location().return_const("dumps/x".to_owned());
    slot.expect_put().times(1).returning(|_, _, _| Ok(written()));
    slot.expect_append().times(2).returning(|_| Ok(3));
    sink.expect_log().times(2).returning(|_| Ok(3));
    let recorder = recorder(Level::Dumps, log, one_slot(slot, sink));
    let call = recorder.begin(&CALLSITE, || one(device_tensor(&memory)));
    call.complete(|| Value::None.into());
    assert_eq!((recorder.health().count(Ending::Failed), *failed.lock().unwrap()), (1, 1));
}

/// Tensors of one device need not be of one stream: a fault on any of them is this call's.
#[test]
fn u06_the_stream_of_every_storage_of_a_call_is_waited_for() {
    fn waited(answer: fn() -> Result<(), StageError>) -> MockDeviceMemory {
        let mut retained = MockDeviceMemory::new();
        retained.expect_capturing().return_const(false);
        retained.expect_read().times(1).returning(move |_, _| answer());
        let retained: Arc<dyn DeviceMemory> = Arc::new(retained);
        let mut memory = MockDeviceMemory::new();
        memory.expect_capturing().return_const(false);
        memory.expect_byte_len().return_const(4usize);
        memory.expect_device().return_const(Device::Cuda(0));
        // Two views of a storage are one storage.
        memory.expect_retain().times(1).returning(move || Some(retained.clone()));
        memory
    }
    let (first, second) = (waited(|| Ok(())), waited(|| Err(StageError::Device("a fault".into()))));
    let (mut sink, mut slot) = (MockDumpSink::new(), MockDumpSlot::new());
    sink.expect_plan().returning(|_| Ok(plan()));
    sink.expect_free_bytes().returning(|| Ok(None));
    sink.expect_encode().returning(|_| Ok(Line::new(b"{}\n".to_vec())));
    sink.expect_log().returning(|_| Ok(3));
    slot.expect_location().return_const("dumps/x".to_owned());
    slot.expect_put().times(1).returning(|_, _, _| Ok(written()));
    slot.expect_append().returning(|_| Ok(3));
    let (log, _) = log();
    let recorder = recorder(Level::Dumps, log, one_slot(slot, sink));
    let call = recorder.begin(&CALLSITE, || LiveArguments {
        positional: [(&first, 1), (&first, 1), (&second, 2)]
            .map(|(memory, id)| device_tensor_of(StorageId::new(id), memory))
            .into(),
        ..LiveArguments::default()
    });
    call.complete(|| tensor(&[3]).into());
    assert_eq!(recorder.health().count(Ending::Failed), 1);
}

/// A sink with one slot, and room for what a test expects of the two.
pub(super) fn one_slot(slot: MockDumpSlot, mut sink: MockDumpSink) -> MockDumpSink {
    let slot = Mutex::new(Some(slot));
    sink.expect_open().returning(move |_| Ok(Box::new(slot.lock().unwrap().take().unwrap())));
    sink
}

fn capturing() -> MockDeviceMemory {
    let mut memory = MockDeviceMemory::new();
    memory.expect_capturing().return_const(true);
    memory.expect_byte_len().return_const(4usize);
    memory
}

pub(super) fn device_tensor(memory: &dyn DeviceMemory) -> LiveValue<'_> {
    device_tensor_of(StorageId::new(7), memory)
}

pub(super) fn device_tensor_of(id: StorageId, memory: &dyn DeviceMemory) -> LiveValue<'_> {
    let mut view = TensorView::new(DType::UInt8, Layout::contiguous(&[4]).unwrap(), &[0; 4]).unwrap();
    view.storage = StorageView { id, bytes: StorageBytes::Device(memory) };
    Value::Tensor(view)
}

#[test]
fn outputs_that_are_being_captured_are_skipped_and_not_read() {
    let memory = capturing();
    let (mut sink, mut slot) = (MockDumpSink::new(), MockDumpSlot::new());
    sink.expect_free_bytes().returning(|| Ok(None));
    sink.expect_encode().returning(|_| Ok(Line::new(b"{}\n".to_vec())));
    sink.expect_log().times(2).returning(|_| Ok(3));
    slot.expect_location().return_const("dumps/x".to_owned());
    slot.expect_append().times(2).returning(|_| Ok(3));
    let (log, _) = log();
    let recorder = recorder(Level::Dumps, log, one_slot(slot, sink));
    let call = recorder.begin(&CALLSITE, || one(Value::int(1)));
    call.complete(|| device_tensor(&memory).into());
    assert_eq!(recorder.health().count(Ending::OutputsSkipped), 1);
}

#[test]
fn what_a_value_calls_while_it_is_described_is_not_recorded() {
    let (log, names) = log();
    let recorder = recorder(Level::Values, log, MockDumpSink::new());
    let nested = || recorder.begin(&CALLSITE, || panic!("nobody asks")).complete(|| panic!("nobody asks"));
    let call = recorder.begin(&CALLSITE, || {
        nested();
        one(Value::int(1))
    });
    call.complete(|| {
        nested();
        Value::None.into()
    });
    assert_eq!(*names.lock().unwrap(), ["Started", "CallStarted", "CallReturned"]);
    assert_eq!(recorder.health().reached, 1);
    // The body itself is outside: what it calls is recorded.
    let (_, call) = recorder.begin(&CALLSITE, LiveArguments::default).run(|| {
        recorder.begin(&CALLSITE, LiveArguments::default).complete(|| Value::None.into());
    });
    call.complete(|| Value::None.into());
    assert_eq!(recorder.health().reached, 3);
}

#[test]
fn an_adapter_that_panics_costs_its_call_a_count_and_the_application_nothing() {
    type Break = fn(&mut MockClock, &mut MockHost, &mut MockDumpSink, &mut MockDumpSlot);
    let breaks: [(Break, Ending); 6] = [
        (
            |clock, _, _, _| {
                clock.expect_now().returning(|| panic!("clock"));
            },
            Ending::NotRecorded,
        ),
        (
            |_, host, _, _| {
                host.expect_process().returning(|| panic!("host"));
            },
            Ending::NotRecorded,
        ),
        (
            |_, _, sink, _| {
                sink.expect_plan().times(1).returning(|_| panic!("plan"));
            },
            Ending::NotRecorded,
        ),
        (
            |_, _, sink, _| {
                sink.expect_encode().times(1).returning(|_| panic!("encode"));
            },
            Ending::NotRecorded,
        ),
        (
            |_, _, _, slot| {
                slot.expect_put().times(1).returning(|_, _, _| panic!("put"));
            },
            Ending::NotRecorded,
        ),
        (
            |_, _, sink, _| {
                sink.expect_log().times(1).returning(|_| panic!("log"));
            },
            Ending::NotRecorded,
        ),
    ];
    for (number, (break_it, ending)) in breaks.into_iter().enumerate() {
        let (mut clock, mut host) = (MockClock::new(), MockHost::new());
        let (mut sink, mut slot) = (MockDumpSink::new(), MockDumpSlot::new());
        // The header's time comes before the call's.
        clock.expect_now().times(1).returning(|| OffsetDateTime::UNIX_EPOCH);
        break_it(&mut clock, &mut host, &mut sink, &mut slot);
        clock.expect_now().returning(|| OffsetDateTime::UNIX_EPOCH);
        let process = Arc::new(Process { id: 7, host: "node".into(), token: "01".into() });
        host.expect_process().returning(move || process.clone());
        sink.expect_plan().returning(|_| Ok(plan()));
        sink.expect_free_bytes().returning(|| Ok(None));
        sink.expect_encode().returning(|_| Ok(Line::new(b"{}\n".to_vec())));
        sink.expect_log().returning(|_| Ok(3));
        slot.expect_location().return_const("dumps/x".to_owned());
        slot.expect_put().returning(|_, _, _| Ok(written()));
        slot.expect_append().returning(|_| Ok(3));
        let (log, _) = log();
        let adapters = Adapters {
            log: Some(Arc::new(log)),
            dumps: Some(Arc::new(one_slot(slot, sink))),
            usage: None,
            clock: Arc::new(clock),
            host: Arc::new(host),
        };
        let recorder = Recorder::new(Settings { level: Level::Dumps, ..Settings::default() }, adapters);
        let (result, call) = recorder.begin(&CALLSITE, || one(tensor(&[1]))).run(|| 5);
        call.complete(|| tensor(&[3]).into());
        let health = recorder.health();
        assert_eq!(result, 5);
        assert_eq!(
            (health.reached, health.running(), health.count(ending)),
            (1, 0, 1),
            "{number}: {health:?}"
        );
    }
}

#[test]
fn a_failing_sink_uses_nothing_of_the_budget_up() {
    let (mut sink, log) = (MockDumpSink::new(), log().0);
    sink.expect_plan().returning(|_| Ok(plan()));
    sink.expect_free_bytes().returning(|| Ok(None));
    sink.expect_encode().returning(|_| Ok(Line::new(b"{}\n".to_vec())));
    sink.expect_log().returning(|_| Err(SinkError::NoRoom { location: "session".into() }));
    sink.expect_open().returning(|_| {
        let mut slot = MockDumpSlot::new();
        slot.expect_location().return_const("dumps/x".to_owned());
        slot.expect_put().returning(|_, _, _| Ok(written()));
        slot.expect_append().returning(|_| Ok(3));
        slot.expect_discard().returning(|| Ok(()));
        Ok(Box::new(slot))
    });
    let recorder = recorder(Level::Dumps, log, sink);
    for _ in 0..3 {
        recorder.begin(&CALLSITE, || one(tensor(&[1]))).complete(|| Value::None.into());
    }
    let ledger = recorder.0.ledger();
    assert_eq!((ledger.budget.bytes(), ledger.budget.calls()), (0, 0));
    assert_eq!(recorder.health().count(Ending::NotRecorded), 3);
}

#[test]
fn the_filter_silences_the_log_from_level_3_on_and_not_at_1() {
    for (level, ending, events) in [
        (Level::Names, Ending::Logged, 2),
        (Level::Values, Ending::Filtered, 1),
        (Level::Dumps, Ending::Filtered, 1),
    ] {
        let (log, names) = log();
        let settings = Settings { level, filter: Filter::new("other", ""), ..Settings::default() };
        let adapters = Adapters {
            log: Some(Arc::new(log)),
            dumps: Some(Arc::new(MockDumpSink::new())),
            usage: None,
            clock: clock(),
            host: host(),
        };
        let recorder = Recorder::new(settings, adapters);
        recorder.begin(&CALLSITE, || panic!("nobody asks")).complete(|| panic!("nobody asks"));
        assert_eq!((recorder.health().count(ending), names.lock().unwrap().len()), (1, events), "{level:?}");
    }
}

#[test]
fn u16_a_limit_is_told_once_and_the_calls_beyond_it_go_on_in_the_log() {
    let (log, names) = log();
    let limits = Limits { max_count: 0, ..Limits::default() };
    let settings = Settings { level: Level::Dumps, limits, ..Settings::default() };
    let adapters = Adapters {
        log: Some(Arc::new(log)),
        dumps: Some(Arc::new(MockDumpSink::new())),
        usage: None,
        clock: clock(),
        host: host(),
    };
    let recorder = Recorder::new(settings, adapters);
    for _ in 0..2 {
        recorder.begin(&CALLSITE, LiveArguments::default).complete(|| Value::None.into());
    }
    assert_eq!(recorder.health().count(Ending::OverCount), 2);
    assert_eq!(
        *names.lock().unwrap(),
        ["Started", "Notice", "CallStarted", "CallReturned", "CallStarted", "CallReturned"]
    );
}

#[test]
fn a_sink_that_panics_over_outputs_still_ends_the_call() {
    let (mut sink, mut slot) = (MockDumpSink::new(), MockDumpSlot::new());
    sink.expect_plan().returning(|_| Ok(plan()));
    sink.expect_free_bytes().returning(|| Ok(None));
    sink.expect_encode().returning(|_| Ok(Line::new(b"{}\n".to_vec())));
    sink.expect_log().times(2).returning(|_| Ok(3));
    slot.expect_location().return_const("dumps/x".to_owned());
    slot.expect_append().times(2).returning(|_| Ok(3));
    slot.expect_put().returning(|_, _, _| panic!("no such device"));
    let (log, _) = log();
    let recorder = recorder(Level::Dumps, log, one_slot(slot, sink));
    recorder.begin(&CALLSITE, || one(Value::int(1))).complete(|| tensor(&[3]).into());
    assert_eq!(recorder.health().count(Ending::OutputsSkipped), 1);
}

#[test]
fn an_error_that_the_size_limit_has_no_room_for_is_cut_and_not_lost() {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let (mut sink, mut slot) = (MockDumpSink::new(), MockDumpSlot::new());
    sink.expect_free_bytes().returning(|| Ok(None));
    sink.expect_encode().returning(|record| {
        let text = record.error.as_ref().map(|error| format!("{}: {}", error.type_name, error.text));
        Ok(Line::new(format!("{} {}\n", record.status, text.unwrap_or_default()).into_bytes()))
    });
    sink.expect_log().returning(|line| Ok(line.byte_len()));
    slot.expect_location().return_const("dumps/x".to_owned());
    let appended = lines.clone();
    slot.expect_append().returning(move |line| {
        appended.lock().unwrap().push(String::from_utf8_lossy(line.as_bytes()).into_owned());
        Ok(line.byte_len())
    });
    // Room for the lines of a call whose ending is short: twice the first one, and what is reserved for the last.
    let limits = Limits { max_bytes: 2 * 15 + 2 * (15 + 1024), ..Limits::default() };
    let settings = Settings { level: Level::Dumps, limits, ..Settings::default() };
    let recorder = recorder_with(settings, log().0, one_slot(slot, sink));
    let pending = recorder.begin(&CALLSITE, || one(Value::int(1)));
    pending.fail(|| RecordedError {
        kind: "error".to_owned(),
        type_name: "PageError".to_owned(),
        text: "no such page ".repeat(1000),
    });
    assert_eq!(recorder.health().count(Ending::Failed), 1);
    let cut = "no such page no such page no such pa";
    assert_eq!(
        *lines.lock().unwrap(),
        ["inputs_saved \n".to_owned(), format!("failed PageError: {cut}...\n")]
    );
}
