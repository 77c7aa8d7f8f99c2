use std::fs;
use std::path::PathBuf;

use callbox_core::{
    DType, FunctionName, Layout, LiveArguments, LiveResult, LiveValue, RecordedError, TensorView, Value,
};
use callbox_testkit::conformance::{self, LogCase};
use time::{OffsetDateTime, UtcOffset};

use super::*;

/// Five past three in the morning of the 2nd of January 2026 in Kathmandu.
fn at() -> OffsetDateTime {
    let offset = UtcOffset::from_hms(5, 45, 0).unwrap();
    OffsetDateTime::from_unix_timestamp(1_767_302_345).unwrap().to_offset(offset)
}

fn file_sink(path: PathBuf) -> StdioSink {
    StdioSink::open(&LogDestination::File(path)).unwrap()
}

#[test]
fn a_file_is_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let files = Cell::new(0);
    conformance::log_sink(&|| {
        let path = folder.path().join(format!("{}.log", files.replace(files.get() + 1)));
        let sink = Box::new(file_sink(path.clone()));
        LogCase { sink, text: Box::new(move || fs::read_to_string(&path).unwrap()) }
    });
}

#[test]
fn a_full_disk_is_an_error() {
    conformance::broken_log_sink(&file_sink(PathBuf::from("/dev/full")));
    let error = file_sink(PathBuf::from("/dev/full")).emit(&Event::Notice { text: "x" }).unwrap_err();
    assert_eq!(error.to_string(), "failed to write /dev/full");
}

#[test]
fn a_long_event_holds_no_memory_when_it_is_written() {
    let sink = file_sink(PathBuf::from("/dev/null"));
    for length in [KEPT_BYTES / 2, 2 * KEPT_BYTES] {
        sink.emit(&Event::Notice { text: &"x".repeat(length) }).unwrap();
        let kept = TEXT.take().capacity();
        assert!((1..=KEPT_BYTES).contains(&kept) || length > KEPT_BYTES && kept == 0, "{length}: {kept}");
    }
}

/// What a level shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    Names,
    Values,
    Statistics,
    Dumps,
}

/// A log with everything that its level has.
fn log(shown: Shown) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.log");
    let sink = file_sink(path.clone());
    let system = [("callbox version", "0.1.0"), ("CUDA", "Not available (CPU-only mode)")];
    let system = system.map(|(label, value)| (label.to_owned(), value.to_owned()));
    sink.emit(&Event::Started { at: at(), system: &system }).unwrap();

    let floats: Vec<u8> =
        [0.5f32, f32::NAN, -2.0, f32::INFINITY].iter().flat_map(|x| x.to_le_bytes()).collect();
    let view = |dtype, shape: &[usize], strides: &[usize]| -> LiveValue<'_> {
        Value::Tensor(TensorView::new(dtype, Layout::new(shape, strides, 0).unwrap(), &floats).unwrap())
    };
    let rmsnorm = LiveArguments {
        positional: vec![view(DType::Float32, &[2, 2], &[1, 2]), view(DType::UInt8, &[3], &[1])],
        keyword: vec![("eps", Value::Float(1e-6)), ("out", Value::None)],
        self_id: None,
    };
    let result = LiveResult::from(Value::tuple(vec![view(DType::Float16, &[], &[]), Value::int(3)]));
    call(&sink, shown, "rmsnorm", &rmsnorm, Ok(&result));

    let mode = Value::Enum { name: "Mode.FAST".to_owned(), value: Box::new(Value::text("fast")) };
    let options = Value::Map(vec![
        (Value::text("it's"), Value::List(vec![Value::Bool(true), Value::dtype(DType::BFloat16)])),
        (Value::tuple(vec![Value::int(1), Value::int(2)]), Value::Map(Vec::new())),
        (Value::None, mode),
    ]);
    let mut plan = LiveArguments::of_object("Wrapper", 0x7f);
    plan.positional.extend([options, Value::Opaque { class: "device".to_owned(), repr: "cuda:1".into() }]);
    let panic = RecordedError {
        kind: "panic".to_owned(),
        type_name: "&str".to_owned(),
        text: "no such device\nbut here is a second line".to_owned(),
    };
    call(&sink, shown, "Wrapper.plan", &plan, Err(&panic));
    call(&sink, shown, "nothing", &LiveArguments::default(), Ok(&LiveResult::from(Value::None)));
    sink.emit(&Event::Notice { text: "callbox: 1 of 3 calls failed" }).unwrap();
    fs::read_to_string(path).unwrap()
}

fn call<'a>(
    sink: &StdioSink,
    shown: Shown,
    name: &str,
    arguments: &'a LiveArguments<'a>,
    ended: Result<&'a LiveResult<'a>, &'a RecordedError>,
) {
    let function = &FunctionName::new("app", name);
    if shown == Shown::Names {
        return sink.emit(&Event::CallNamed { at: at(), function }).unwrap();
    }
    let location = "dumps/20260102_030405_006_pid7_call0001";
    let statistics = shown >= Shown::Statistics;
    if shown == Shown::Dumps {
        let (count, max_count, is_deferred) = (1, 1000, false);
        sink.emit(&Event::InputsDumped { location, bytes: 3 << 18, count, max_count, is_deferred }).unwrap();
    }
    sink.emit(&Event::CallStarted { at: at(), function, arguments, statistics }).unwrap();
    match ended {
        Ok(result) => {
            sink.emit(&Event::CallReturned { result, statistics }).unwrap();
            if shown == Shown::Dumps {
                sink.emit(&Event::OutputsDumped {
                    location,
                    bytes: 1 << 18,
                    total_bytes: 1 << 20,
                    is_deferred: false,
                })
                .unwrap();
            }
        }
        Err(error) => sink.emit(&Event::CallFailed { error }).unwrap(),
    }
}

#[test]
fn each_level_looks_as_its_golden_file() {
    for (shown, golden) in [
        (Shown::Names, include_str!("../../tests/data/level1.txt")),
        (Shown::Values, include_str!("../../tests/data/level3.txt")),
        (Shown::Statistics, include_str!("../../tests/data/level5.txt")),
        (Shown::Dumps, include_str!("../../tests/data/level10.txt")),
    ] {
        assert_eq!(log(shown), golden);
    }
}
