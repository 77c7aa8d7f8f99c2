//! Calls that were captured into a CUDA graph: what is on disk before a flush and after it, and who reads it.
//!
//! `tests/data/graph/session.jsonl` is what FlashInfer 0.7.2 wrote of two calls and two flushes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{
    Adapters, CallState, Callsite, DType, DumpSource, Ending, Event, ExecutionStatus, FaultKind, Group,
    Level, Limits, LiveArguments, LiveResult, LoadedTensor, LogSink, RecordedError, Recorder, Settings,
    SinkError, TensorSerializer, UsageStore, Value,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_replay::{CompareOptions, Verdict};
use callbox_sink_fs::json::{self, Json};
use callbox_sink_fs::{Durability, FsSink, FsSource, Hashing, ReadOptions, SinkOptions};
use callbox_testkit::GraphMemory;
use callbox_testkit::fixed::{FixedClock, FixedHost};
use callbox_tests::corpus;
use callbox_values::tensor_of;
use callbox_verify::{VerifyOptions, verify};
use tempfile::TempDir;

static SCALE: Callsite = Callsite::new("__main__", "scale", "(x, k, out=None)");
static RET_NONE: Callsite = Callsite::new("zoo_mod", "ret_none", "(x)");

const CAPTURED: [&str; 2] =
    ["19700101_000000_000_pid4711_scale_call0001", "19700101_000000_000_pid4711_ret_none_call0001"];

/// Keeps the notices of a log.
#[derive(Clone, Debug, Default)]
struct Notices(Arc<std::sync::Mutex<Vec<String>>>);

impl LogSink for Notices {
    fn emit<'a>(&self, event: &'a Event<'a>) -> Result<(), SinkError> {
        if let Event::Notice { text } = event {
            self.0.lock().unwrap().push((*text).to_owned());
        }
        Ok(())
    }
}

/// Two calls that were captured: one scales `x` into `out`, the other returns nothing.
struct Captured {
    folder: TempDir,
    recorder: Recorder,
    notices: Notices,
    x: GraphMemory,
    out: GraphMemory,
}

fn formats() -> Vec<Arc<dyn TensorSerializer>> {
    vec![Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)]
}

fn bytes(values: [f32; 4]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

impl Captured {
    fn new(format: Arc<dyn TensorSerializer>, limits: Limits) -> Captured {
        Captured::counted(format, limits, false)
    }

    /// As [`Captured::new`]; the limits may be those of all processes of the session.
    fn counted(format: Arc<dyn TensorSerializer>, limits: Limits, shares_limits: bool) -> Captured {
        let (folder, notices) = (TempDir::new().unwrap(), Notices::default());
        let options = SinkOptions {
            root: folder.path().join("dumps"),
            format,
            fallback: None,
            durability: Durability::Process,
            hashing: Hashing::Xxh3,
        };
        let dumps = Arc::new(FsSink::new(options));
        let recorder = Recorder::new(
            Settings { level: Level::Dumps, limits, ..Settings::default() },
            Adapters {
                log: Some(Arc::new(notices.clone())),
                usage: shares_limits.then(|| dumps.clone() as Arc<dyn UsageStore>),
                dumps: Some(dumps),
                clock: Arc::new(FixedClock::default()),
                host: Arc::new(FixedHost::default()),
            },
        );
        let [x, out] = [0.0, 0.0].map(|value| GraphMemory::new(&bytes([value; 4])));
        let captured = Captured { folder, recorder, notices, x, out };
        captured.set_capturing(true);
        captured.record();
        captured.set_capturing(false);
        captured
    }

    fn set_capturing(&self, is_capturing: bool) {
        [&self.x, &self.out].iter().for_each(|memory| memory.set_capturing(is_capturing));
    }

    fn record(&self) {
        let tensor = |memory| Value::Tensor(GraphMemory::view(memory, DType::Float32, &[4]));
        let call = self.recorder.begin(&SCALE, || LiveArguments {
            positional: vec![tensor(&self.x), Value::Float(2.0)],
            keyword: vec![("out", tensor(&self.out))],
            self_id: None,
        });
        call.complete(|| tensor(&self.out).into());
        let call = self.recorder.begin(&RET_NONE, || LiveArguments {
            positional: vec![tensor(&self.x)],
            ..LiveArguments::default()
        });
        call.complete(|| Value::None.into());
    }

    /// Runs the graph on other values.
    fn launch(&self, value: f32) {
        self.x.write(&bytes([value; 4]));
        self.out.write(&bytes([2.0 * value; 4]));
    }

    fn dumps(&self) -> PathBuf {
        self.folder.path().join("dumps")
    }

    fn open(&self, below: &str) -> FsSource {
        FsSource::open(&self.dumps().join(below), formats(), ReadOptions::default()).unwrap()
    }

    fn losses(&self) -> String {
        self.recorder.health().losses().unwrap_or_default()
    }
}

/// Lists the files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut waiting = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    let relative = |path: &PathBuf| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
    let mut found: Vec<_> = found.iter().map(relative).collect();
    found.sort();
    found
}

/// The first value of a call's tensor.
fn value(source: &FsSource, folder: &str, group: Group, key: &str) -> f32 {
    let calls = source.calls().unwrap().calls;
    let call = calls.iter().find(|call| call.folder == folder).unwrap();
    let tensors = source.load(call, group).unwrap().unwrap();
    let Some(LoadedTensor::Whole(tensor)) = tensors.get(key) else { panic!("{folder} has no {key}") };
    tensor.to_f32().unwrap()[0]
}

/// What a line says, but for what differs from run to run: its function, its keys, and the values of those that tell how
/// far the call is. Our own keys are left out.
fn shape(line: &str, root: &str) -> String {
    const OURS: [&str; 4] = ["callbox", "tensor_files", "line_xxh3", "self_id"];
    let Json::Object(entries) = json::parse(line.as_bytes()).unwrap() else { panic!("{line}") };
    let entries = entries.iter().map(|(key, value)| (key.to_string(), value.to_strict_string()));
    let entries: Vec<_> = entries.filter(|(key, _)| !OURS.contains(&key.as_str())).collect();
    let told = |key: &str| {
        let value = entries.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
        let value = value.unwrap_or("-").trim_matches('"').trim_start_matches(root).trim_start_matches('/');
        // A call's folder has its moment and its process in its name.
        let behind_pid =
            value.split_once("_pid").map(|(_, rest)| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        behind_pid.unwrap_or(value).to_owned()
    };
    let keys: Vec<_> = entries.iter().map(|(key, _)| key.as_str()).collect();
    let values = [
        "function_name",
        "execution_status",
        "graph_capture",
        "dump_dir",
        "graph_capture_flushed",
        "graph_capture_flush_index",
        "graph_capture_snapshot_dir",
        "graph_capture_base_dump_dir",
        "input_metadata",
        "output_metadata",
        "tensor_info",
    ];
    format!("{keys:?} {:?}", values.map(told))
}

#[test]
fn the_lines_are_those_of_flashinfer_and_a_call_without_output_tensors_is_completed_too() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    for value in [1.0, 2.0] {
        captured.launch(value);
        assert_eq!(captured.recorder.flush_graph_dumps(), 3, "groups, as FlashInfer counts");
    }
    let root = captured.dumps();
    let session = fs::read_to_string(root.join("session.jsonl")).unwrap();
    let mut lines: Vec<_> = session.lines().map(|line| shape(line, root.to_str().unwrap())).collect();
    // FlashInfer's reader takes a captured call that stays `inputs_saved` for a crash.
    let is_added = |line: &String| line.contains("ret_none") && line.contains("\"completed\"");
    assert_eq!(lines.extract_if(.., |line| is_added(line)).count(), 4);
    let expected: Vec<_> =
        include_str!("../data/graph/session.jsonl").lines().map(|line| shape(line, "dumps")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_flush_writes_the_latest_files_and_a_snapshot_that_stays() {
    for (format, extension) in [(formats()[0].clone(), "pt"), (formats()[1].clone(), "safetensors")] {
        let captured = Captured::new(format, Limits::default());
        let of_scale = captured.dumps().join(CAPTURED[0]);
        assert_eq!(files(&of_scale), ["metadata.jsonl"]);
        captured.launch(1.0);
        captured.recorder.flush_graph_dumps();
        let first = fs::read(of_scale.join(format!("graph_flushes/flush_0001/inputs.{extension}"))).unwrap();
        captured.launch(2.0);
        captured.recorder.flush_graph_dumps();
        let own = ["inputs", "outputs"].map(|stem| format!("{stem}.{extension}"));
        let mut expected = vec!["metadata.jsonl".to_owned()];
        expected.extend(own.clone());
        for flush in ["flush_0001", "flush_0002"] {
            expected.push(format!("graph_flushes/{flush}/metadata.jsonl"));
            expected.extend(own.iter().map(|file| format!("graph_flushes/{flush}/{file}")));
        }
        expected.sort();
        assert_eq!(files(&of_scale), expected);
        let read = |path: &str| fs::read(of_scale.join(path)).unwrap();
        assert_eq!(read(&format!("graph_flushes/flush_0001/inputs.{extension}")), first);
        for file in &own {
            assert_eq!(read(file), read(&format!("graph_flushes/flush_0002/{file}")), "{file} is the latest");
        }

        let session = captured.open("");
        assert_eq!(value(&session, CAPTURED[0], Group::Inputs, "arg_0"), 2.0);
        assert_eq!(value(&session, CAPTURED[0], Group::Outputs, "result"), 4.0);
        let flushes = captured.open(&format!("{}/graph_flushes/flush_0001", CAPTURED[0]));
        assert_eq!(value(&flushes, "flush_0001", Group::Outputs, "result"), 2.0);
        for call in session.calls().unwrap().calls {
            assert_eq!((&call.state, call.flush), (&CallState::Completed, Some(2)), "{}", call.folder);
            let record = session.record(&call).unwrap();
            assert!(record.findings.is_empty(), "{:?}", record.findings);
        }
        let options =
            VerifyOptions { dir: &captured.dumps(), formats: formats(), read: ReadOptions::default() };
        let report = verify(&options, &mut |_, _| ()).unwrap();
        assert!(report.damages.is_empty() && report.notes.is_empty(), "{report:?}");
        assert_eq!(report.totals.files_agree, 9);
    }
}

#[test]
fn before_a_flush_the_calls_are_pending_and_counted_as_lost() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    let states: Vec<_> =
        captured.open("").calls().unwrap().calls.into_iter().map(|call| call.state).collect();
    assert_eq!(states, [CallState::GraphPending, CallState::GraphPending]);
    let health = captured.recorder.health();
    assert_eq!((health.count(Ending::Captured), health.unflushed()), (2, 2));
    assert!(captured.losses().contains("2 captured into a CUDA graph and never flushed"));
    captured.recorder.flush_graph_dumps();
    captured.recorder.flush_graph_dumps();
    assert_eq!(captured.losses(), "");
}

/// What its graph does later is not what it gave.
#[test]
fn u05_a_captured_call_that_failed_stays_failed() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    captured.set_capturing(true);
    let tensor = || Value::Tensor(captured.x.view(DType::Float32, &[4]));
    let arguments = || LiveArguments { positional: vec![tensor()], ..LiveArguments::default() };
    let error = RecordedError { kind: "error".into(), type_name: "Error".into(), text: "no kernel".into() };
    captured.recorder.begin(&RET_NONE, arguments).fail(|| error);
    captured.recorder.begin(&RET_NONE, arguments).complete(|| panic!("no value"));
    captured.set_capturing(false);
    assert_eq!(captured.recorder.flush_graph_dumps(), 3, "the other two");
    let states = captured.open("").calls().unwrap().calls.into_iter().map(|call| call.state);
    let expected = [CallState::Completed, CallState::Completed, CallState::Failed, CallState::OutputsSkipped];
    assert!(states.eq(expected), "{:?}", captured.open("").calls());
    assert_eq!((captured.recorder.health().flushed, captured.recorder.health().unflushed()), (2, 0));
}

#[test]
fn host_tensors_of_a_captured_call_are_what_they_were_when_it_was_captured() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    captured.set_capturing(true);
    let mut floats = [1f32, 2.0, 3.0, 4.0];
    {
        // A slice and the whole have one address.
        let [part, whole] =
            [&floats[..2], &floats[..]].map(|slice| Value::Tensor(tensor_of(slice, &[slice.len()]).unwrap()));
        let on_device = Value::Tensor(captured.x.view(DType::Float32, &[4]));
        let positional = vec![part, whole, on_device];
        let arguments = || LiveArguments { positional, ..LiveArguments::default() };
        captured.recorder.begin(&RET_NONE, arguments).complete(|| Value::None.into());
    }
    captured.set_capturing(false);
    floats.fill(9.0);
    assert_eq!((captured.recorder.flush_graph_dumps(), floats[0]), (4, 9.0));
    let folder = CAPTURED[1].replace("call0001", "call0002");
    for key in ["arg_0", "arg_1"] {
        assert_eq!(value(&captured.open(""), &folder, Group::Inputs, key), 1.0);
    }
}

/// Who removes a call's folder loses that call.
#[test]
fn a_call_whose_folder_is_gone_costs_no_other_its_flush() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    fs::remove_dir_all(captured.dumps().join(CAPTURED[0])).unwrap();
    assert_eq!(captured.recorder.flush_graph_dumps(), 1);
    let faults = captured.recorder.health().faults;
    assert!(faults.len() == 1 && faults[0].first.contains("No such file"), "{faults:?}");
    captured.recorder.clear_graph_dumps();
    captured.record();
    assert_eq!(captured.recorder.health().count(Ending::Recorded), 2, "dumping goes on");
}

#[test]
fn flushes_take_of_the_limit_what_they_leave_on_disk() {
    let size = |captured: &Captured| {
        let files = files(&captured.dumps()).into_iter().filter(|file| file != "session.limits");
        files.map(|file| captured.dumps().join(file).metadata().unwrap().len()).sum::<u64>()
    };
    for shares_limits in [false, true] {
        let capture = |limits| Captured::counted(Arc::new(PtSerializer), limits, shares_limits);
        let roomy = capture(Limits::default());
        roomy.recorder.flush_graph_dumps();
        let first = size(&roomy);
        roomy.recorder.flush_graph_dumps();
        let each = size(&roomy) - first;
        let limits = Limits { max_bytes: first + 4 * each, min_free_bytes: 0, ..Limits::default() };
        let captured = capture(limits);
        let groups: usize = (0..20).map(|_| captured.recorder.flush_graph_dumps()).sum();
        let size = size(&captured);
        assert!(size <= limits.max_bytes, "{size} of {}", limits.max_bytes);
        // While a file is exchanged there are two of it: the last flush may have no room for that.
        assert!((4 * 3..=5 * 3).contains(&groups), "{groups}");
        if shares_limits {
            assert_eq!(counted(&captured.dumps()), size, "what is reserved and not on disk is others'");
        }
    }
}

/// Returns the bytes that `session.limits` says are taken, in the line with the highest number.
fn counted(dumps: &Path) -> u64 {
    let text = fs::read_to_string(dumps.join("session.limits")).unwrap();
    let numbers = |line: &str| line.split(' ').map(|number| number.parse().unwrap_or(0)).collect();
    let lines: Vec<Vec<u64>> = text.lines().map(numbers).collect();
    lines.iter().max().unwrap()[2]
}

#[test]
fn two_threads_that_flush_write_whole_flushes() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    let groups: usize = std::thread::scope(|scope| {
        let flush = || (0..10).map(|_| captured.recorder.flush_graph_dumps()).sum::<usize>();
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(flush)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((groups, captured.losses()), (60, String::new()));
    let options = VerifyOptions { dir: &captured.dumps(), formats: formats(), read: ReadOptions::default() };
    let report = verify(&options, &mut |_, _| ()).unwrap();
    assert!(report.damages.is_empty() && report.notes.is_empty(), "{report:?}");
    assert_eq!(captured.open("").calls().unwrap().calls[0].flush, Some(20));
}

/// What an interrupted flush leaves is no damage; what only looks like it is.
#[test]
fn damage_to_a_flush_or_to_the_call_s_own_files_is_found() {
    /// The file that is told, and what is done to the call's folder.
    type Harm = (&'static str, fn(&Path));
    let damages: [Harm; 4] = [
        ("outputs.pt", |call| fs::remove_file(call.join("outputs.pt")).unwrap()),
        ("inputs.pt", |call| {
            fs::copy(call.join("graph_flushes/flush_0001/inputs.pt"), call.join("inputs.pt")).unwrap();
        }),
        ("outputs.pt", |call| {
            let path = call.join("graph_flushes/flush_0001/outputs.pt");
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("metadata.jsonl", |call| {
            fs::remove_file(call.join("graph_flushes/flush_0001/metadata.jsonl")).unwrap()
        }),
    ];
    for (file, damage) in damages {
        let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
        for value in [1.0, 2.0] {
            captured.launch(value);
            captured.recorder.flush_graph_dumps();
        }
        damage(&captured.dumps().join(CAPTURED[0]));
        let options =
            VerifyOptions { dir: &captured.dumps(), formats: formats(), read: ReadOptions::default() };
        let report = verify(&options, &mut |_, _| ()).unwrap();
        let found: Vec<_> = report.damages.iter().map(|damage| damage.file.as_str()).collect();
        assert_eq!(found, [file], "{report:?}");
    }
}

#[test]
fn a_folder_of_flushes_is_looked_at_like_a_session_and_needs_no_index() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    (0..2).for_each(|_| assert_eq!(captured.recorder.flush_graph_dumps(), 3));
    let folder = captured.dumps().join(CAPTURED[0]).join("graph_flushes");
    let options = VerifyOptions { dir: &folder, formats: formats(), read: ReadOptions::default() };
    let report = verify(&options, &mut |_, _| ()).unwrap();
    assert!(report.calls == 2 && report.totals.files == 4 && report.damages.is_empty(), "{report:?}");
}

/// FlashInfer writes no `completed` for a call without output tensors.
#[test]
fn a_flush_of_flashinfers_without_output_tensors_is_whole_where_its_inputs_are_there() {
    const NAME: &str = "a_flush_of_flashinfers_without_output_tensors_is_whole_where_its_inputs_are_there";
    let Some(corpus) = corpus(NAME) else { return };
    for format in ["pt", "st"] {
        let (dumps, copy) = (corpus.join("graph").join(format).join("dumps"), TempDir::new().unwrap());
        for file in files(&dumps) {
            let to = copy.path().join(&file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(dumps.join(&file), to).unwrap();
        }
        let look = || {
            let options =
                VerifyOptions { dir: copy.path(), formats: formats(), read: ReadOptions::default() };
            verify(&options, &mut |_, _| ()).unwrap()
        };
        let report = look();
        assert!(report.damages.is_empty() && report.notes.is_empty(), "{report:?}");
        let of_flush = |file: &String| file.contains("ret_none") && file.contains("flush_0001/inputs.");
        let lost = files(copy.path()).into_iter().find(of_flush).unwrap();
        fs::remove_file(copy.path().join(&lost)).unwrap();
        let report = look();
        let [damage] = &report.damages[..] else { panic!("{report:?}") };
        assert!(damage.folder.ends_with("graph_flushes/flush_0001"), "{damage}");
    }
}

/// An engine captures hundreds of calls for each of many batch sizes, and has files of its own to open.
#[test]
fn captured_calls_hold_no_file_open() {
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    let before = open();
    captured.set_capturing(true);
    (0..100).for_each(|_| captured.record());
    captured.set_capturing(false);
    assert_eq!(captured.recorder.flush_graph_dumps(), 303);
    // Other tests run at the same time, and open some.
    assert!(open() < before + 100, "{} files were open, and now {}", before, open());
}

#[test]
fn what_is_cleared_is_let_go_and_never_flushed_again() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    captured.recorder.flush_graph_dumps();
    let before = files(&captured.dumps());
    assert!(captured.x.holders() > 1 && captured.out.holders() > 1);
    assert_eq!(captured.recorder.clear_graph_dumps(), 3);
    assert_eq!((captured.x.holders(), captured.out.holders()), (1, 1));
    assert_eq!((captured.recorder.flush_graph_dumps(), captured.recorder.clear_graph_dumps()), (0, 0));
    assert_eq!(files(&captured.dumps()), before);
}

#[test]
fn while_the_graph_is_captured_a_flush_waits_for_another() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    captured.out.set_capturing(true);
    assert_eq!(captured.recorder.flush_graph_dumps(), 1, "the call on `x` alone");
    let told = captured.notices.0.lock().unwrap().join("\n");
    assert!(told.contains("1 captured call was not flushed: a graph is still being captured"), "{told}");
    captured.out.set_capturing(false);
    assert_eq!(captured.recorder.flush_graph_dumps(), 3);
}

#[test]
fn a_flush_that_has_no_room_is_told_and_leaves_the_one_before() {
    // Two calls' lines and a flush fit, and no other.
    let limits = |max_bytes| Limits { max_bytes, min_free_bytes: 0, ..Limits::default() };
    let written = |captured: &Captured| {
        let sizes = files(&captured.dumps()).into_iter().map(|file| captured.dumps().join(file).metadata());
        sizes.map(|metadata| metadata.unwrap().len()).sum::<u64>()
    };
    let roomy = Captured::new(Arc::new(PtSerializer), Limits::default());
    roomy.recorder.flush_graph_dumps();
    let one_flush = written(&roomy);
    let captured = Captured::new(Arc::new(PtSerializer), limits(one_flush + 3000));
    captured.launch(1.0);
    assert_eq!(captured.recorder.flush_graph_dumps(), 3);
    let before = files(&captured.dumps());
    captured.launch(2.0);
    assert_eq!(captured.recorder.flush_graph_dumps(), 0);
    assert_eq!(files(&captured.dumps()), before);
    assert!(written(&captured) <= one_flush + 3000);
    let faults = captured.recorder.health().faults;
    assert_eq!((faults[0].kind, faults[0].count), (FaultKind::Flush, 2));
    assert!(
        faults[0].first.contains("__main__.scale: a flush needs more than what is left of"),
        "{faults:?}"
    );
    assert_eq!(value(&captured.open(""), CAPTURED[0], Group::Outputs, "result"), 2.0);
}

#[test]
fn what_the_call_wrote_into_is_flushed_with_its_outputs() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    captured.set_capturing(true);
    let tensor = |memory| Value::Tensor(GraphMemory::view(memory, DType::Float32, &[4]));
    let arguments = || LiveArguments { positional: vec![tensor(&captured.x)], ..LiveArguments::default() };
    let place = callbox_core::ArgumentPlace::Positional(0);
    let written = vec![(place, tensor(&captured.x))];
    captured.recorder.begin(&RET_NONE, arguments).complete(|| LiveResult { value: Value::None, written });
    captured.set_capturing(false);
    captured.launch(3.0);
    assert_eq!(captured.recorder.flush_graph_dumps(), 5);
    let folder = CAPTURED[1].replace("call0001", "call0002");
    let source = captured.open("");
    assert_eq!(value(&source, &folder, Group::ArgsAfter, "arg_0"), 3.0);
    let call = source.calls().unwrap().calls.pop().unwrap();
    assert_eq!(source.record(&call).unwrap().record.status, ExecutionStatus::Completed);
}

static SILU: Callsite = Callsite::new("flashinfer.activation", "silu_and_mul", "(input)");

#[test]
fn each_flush_is_replayed_like_any_other_call() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    captured.set_capturing(true);
    let tensor = |memory, shape: &[usize]| Value::Tensor(GraphMemory::view(memory, DType::Float32, shape));
    let half = GraphMemory::new(&[0; 8]);
    half.set_capturing(true);
    let arguments =
        || LiveArguments { positional: vec![tensor(&captured.x, &[1, 4])], ..LiveArguments::default() };
    captured.recorder.begin(&SILU, arguments).complete(|| tensor(&half, &[1, 2]).into());
    captured.set_capturing(false);
    half.set_capturing(false);
    // The second launch leaves what its function does not give.
    for (value, factor) in [(1f32, 1.0), (2.0, 1.5)] {
        captured.x.write(&bytes([value; 4]));
        let result = factor * value * value / (1.0 + (-value).exp());
        half.write(&[result.to_le_bytes(), result.to_le_bytes()].concat());
        captured.recorder.flush_graph_dumps();
    }
    let folder = captured.dumps().join("19700101_000000_000_pid4711_silu_and_mul_call0001");
    for (place, expected) in [
        (folder.clone(), Verdict::Mismatch),
        (folder.join("graph_flushes/flush_0001"), Verdict::Passed),
        (folder.join("graph_flushes/flush_0002"), Verdict::Mismatch),
    ] {
        let (_, verdicts) = crate::replay::replay(&place, CompareOptions::default());
        assert_eq!(verdicts[0].3, expected, "{}", place.display());
    }
}

/// A process that ends while it exchanges a call's files leaves two flushes mixed there; the snapshots have both.
#[test]
fn the_flush_that_the_record_names_is_read_whatever_lies_in_the_call_s_folder() {
    let captured = Captured::new(Arc::new(PtSerializer), Limits::default());
    captured.launch(1.0);
    captured.recorder.flush_graph_dumps();
    let call = captured.dumps().join(CAPTURED[0]);
    let session = fs::read_to_string(captured.dumps().join("session.jsonl")).unwrap();
    let metadata = fs::read_to_string(call.join("metadata.jsonl")).unwrap();
    captured.launch(2.0);
    captured.recorder.flush_graph_dumps();
    fs::write(captured.dumps().join("session.jsonl"), session).unwrap();
    fs::write(call.join("metadata.jsonl"), metadata).unwrap();
    let source = captured.open("");
    assert_eq!(value(&source, CAPTURED[0], Group::Inputs, "arg_0"), 1.0);
    assert_eq!(value(&source, CAPTURED[0], Group::Outputs, "result"), 2.0);
    fs::remove_dir_all(call.join("graph_flushes")).unwrap();
    let error = source.load(&source.calls().unwrap().calls[0], Group::Inputs).unwrap_err();
    assert!(callbox_core::error::chain(&error).contains("hash"), "{error}");
}
