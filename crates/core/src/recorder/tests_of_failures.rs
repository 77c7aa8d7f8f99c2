//! What becomes of calls while the sink fails, and when it works again.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use time::OffsetDateTime;

use super::tests::{CALLSITE, host, one, plan, tensor};
use super::*;
use crate::dump_file::{Line, WrittenFile};
use crate::error::FormatError;
use crate::gate::FailurePolicy;
use crate::limits::{Limits, Usage};
use crate::name::Group;
use crate::ports::{MockClock, MockDumpSink, MockDumpSlot, MockLogSink, MockUsageCounter, UsageCounter};
use crate::record::RecordedError;

/// What the sink, the clock and the log have in common.
#[derive(Debug, Default)]
struct World {
    seconds: f64,
    /// The sink can make no place.
    is_full: bool,
    /// Files of outputs cannot be written.
    is_full_for_outputs: bool,
    /// The tensors are of a kind that its format has not.
    refuses_tensors: bool,
    free_bytes: Option<u64>,
    /// What all processes use; `None`: it cannot be counted.
    usage: Option<Usage>,
    opened: usize,
    notices: Vec<String>,
}

type Shared = Arc<Mutex<World>>;

fn full(act: &'static str) -> SinkError {
    let source = io::Error::new(io::ErrorKind::StorageFull, "no space");
    SinkError::Io { act, path: PathBuf::from("dumps"), source }
}

fn sink(world: &Shared) -> MockDumpSink {
    let mut sink = MockDumpSink::new();
    let refuses = world.clone();
    sink.expect_plan().returning(move |_| match refuses.lock().unwrap().refuses_tensors {
        true => Err(FormatError::Unsupported("complex32".to_owned()).into()),
        false => Ok(plan()),
    });
    sink.expect_encode().returning(|_| Ok(Line::new(b"{}\n".to_vec())));
    sink.expect_log().returning(|_| Ok(3));
    let free = world.clone();
    sink.expect_free_bytes().returning(move || Ok(free.lock().unwrap().free_bytes));
    let world = world.clone();
    sink.expect_open().returning(move |_| {
        let mut now = world.lock().unwrap();
        if now.is_full {
            return Err(full("create"));
        }
        now.opened += 1;
        let mut slot = MockDumpSlot::new();
        slot.expect_location().return_const("dumps/x".to_owned());
        slot.expect_append().returning(|_| Ok(3));
        let world = world.clone();
        slot.expect_put().returning(move |group, _, _| match group {
            Group::Outputs if world.lock().unwrap().is_full_for_outputs => Err(full("write")),
            _ => Ok(WrittenFile { bytes: 64, ..WrittenFile::default() }),
        });
        Ok(Box::new(slot))
    });
    sink
}

fn counter(world: &Shared) -> MockUsageCounter {
    let mut counter = MockUsageCounter::new();
    let (takes, gives) = (world.clone(), world.clone());
    counter.expect_take().returning(move |amount, most| {
        let usage = &mut takes.lock().unwrap().usage;
        let sum = usage.ok_or_else(|| full("lock"))?.plus(amount, most);
        *usage = sum.or(*usage);
        Ok(sum)
    });
    counter.expect_give_back().returning(move |amount| {
        let usage = &mut gives.lock().unwrap().usage;
        *usage = Some(usage.ok_or_else(|| full("lock"))?.minus(amount));
        Ok(())
    });
    counter
}

/// Counts what all processes use.
#[derive(Debug)]
struct Store(Arc<MockUsageCounter>);

impl UsageStore for Store {
    fn counter(&self) -> Result<Arc<dyn UsageCounter>, SinkError> {
        Ok(self.0.clone())
    }
}

/// Nothing is used so far.
fn counting(world: &Shared) -> Arc<dyn UsageStore> {
    world.lock().unwrap().usage = Some(Usage::default());
    Arc::new(Store(Arc::new(counter(world))))
}

fn recorder(world: &Shared, settings: Settings) -> Recorder {
    recorder_on(world, settings, None, host())
}

fn recorder_on(
    world: &Shared,
    settings: Settings,
    usage: Option<Arc<dyn UsageStore>>,
    host: Arc<dyn Host>,
) -> Recorder {
    let (mut log, mut clock) = (MockLogSink::new(), MockClock::new());
    let told = world.clone();
    log.expect_emit().returning(move |event| {
        if let Event::Notice { text } = event {
            told.lock().unwrap().notices.push((*text).to_owned());
        }
        Ok(())
    });
    let time = world.clone();
    clock.expect_now().returning(move || {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs_f64(time.lock().unwrap().seconds)
    });
    let (log, dumps): (Arc<dyn LogSink>, Arc<dyn DumpSink>) = (Arc::new(log), Arc::new(sink(world)));
    let settings = Settings { level: Level::Dumps, ..settings };
    Recorder::new(
        settings,
        Adapters { log: Some(log), dumps: Some(dumps), usage, clock: Arc::new(clock), host },
    )
}

/// Makes a call every so many seconds.
fn calls(recorder: &Recorder, world: &Shared, count: usize, every: f64) {
    for _ in 0..count {
        let (result, call) = recorder.begin(&CALLSITE, || one(tensor(&[1]))).run(|| 5);
        assert_eq!(result, 5);
        call.complete(|| tensor(&[3]).into());
        world.lock().unwrap().seconds += every;
    }
}

fn counts(recorder: &Recorder) -> Vec<(Ending, u64)> {
    let health = recorder.health();
    assert_eq!(health.running(), 0, "every call is counted once");
    health.endings.into_iter().collect()
}

#[test]
fn u11_while_the_disk_is_full_few_calls_are_tried_and_recording_resumes_when_space_returns() {
    let world = Shared::default();
    let recorder = recorder(&world, Settings::default());
    calls(&recorder, &world, 1, 0.0);
    world.lock().unwrap().is_full = true;
    calls(&recorder, &world, 1000, 0.01);
    // Tried at once, then after 0.1 s, 0.2 s, 0.4 s ...: eight times in ten seconds.
    let expected = [(Ending::Recorded, 1), (Ending::NotRecorded, 8), (Ending::Resting, 992)];
    assert_eq!(counts(&recorder), expected);
    world.lock().unwrap().is_full = false;
    world.lock().unwrap().seconds += 60.0;
    calls(&recorder, &world, 10, 0.0);
    let expected = [(Ending::Recorded, 11), (Ending::NotRecorded, 8), (Ending::Resting, 992)];
    assert_eq!(counts(&recorder), expected);

    let failed = "callbox: writing inputs failed: engine.norm.rms_norm: failed to create dumps: no space";
    let mut told: Vec<String> =
        ["the next call is tried", "calls are not dumped for 0.1 s", "calls are not dumped for 0.2 s"]
            .map(|then| format!("{failed}; {then}"))
            .to_vec();
    told.extend(["0.4", "0.8"].map(|pause| format!("{failed}; calls are not dumped for {pause} s")));
    told.push(
        "callbox: dumping goes on; 992 calls were not dumped meanwhile; 3 warnings before it were held back"
            .to_owned(),
    );
    assert_eq!(world.lock().unwrap().notices, told);
}

#[test]
fn with_the_policy_stop_nothing_is_tried_after_the_first_failure() {
    let world = Shared::default();
    let recorder = recorder(&world, Settings { on_failure: FailurePolicy::Stop, ..Settings::default() });
    world.lock().unwrap().is_full = true;
    calls(&recorder, &world, 1, 0.0);
    world.lock().unwrap().is_full = false;
    calls(&recorder, &world, 9, 3600.0);
    assert_eq!(counts(&recorder), [(Ending::NotRecorded, 1), (Ending::Stopped, 9)]);
    let world = world.lock().unwrap();
    assert_eq!(world.opened, 0);
    assert!(world.notices[0].ends_with("no space; no more calls are dumped"), "{:?}", world.notices);
}

#[test]
fn u17_space_that_is_to_stay_free_is_not_taken() {
    let world = Shared::default();
    let limits = Limits { min_free_bytes: 1000, ..Limits::default() };
    let recorder = recorder(&world, Settings { limits, ..Settings::default() });
    // A file takes 64 bytes.
    world.lock().unwrap().free_bytes = Some(1063);
    calls(&recorder, &world, 2, 0.0);
    assert_eq!(world.lock().unwrap().opened, 0);
    world.lock().unwrap().free_bytes = Some(1 << 20);
    world.lock().unwrap().seconds += 1.0;
    calls(&recorder, &world, 1, 0.0);
    assert_eq!(counts(&recorder), [(Ending::Recorded, 1), (Ending::LowSpace, 2)]);
    assert_eq!(
        world.lock().unwrap().notices[0],
        "callbox: 1063 bytes are free where dumps go, 1000 are to stay free after a call's inputs; the next call \
         is tried"
    );
}

#[test]
fn outputs_that_would_take_space_that_is_to_stay_free_are_skipped() {
    let world = Shared::default();
    let limits = Limits { min_free_bytes: 1000, ..Limits::default() };
    let recorder = recorder(&world, Settings { limits, ..Settings::default() });
    world.lock().unwrap().free_bytes = Some(1064);
    calls(&recorder, &world, 1, 0.0);
    assert_eq!(counts(&recorder), [(Ending::OutputsSkipped, 1)]);
    let notices = world.lock().unwrap().notices.clone();
    assert!(notices[0].contains("of the 1064 that are free, 1000 are to stay free"), "{notices:?}");
}

/// Records into a session of which others have used one call.
fn sharing(world: &Shared, max_count: u64) -> Recorder {
    let limits = Limits { max_count, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    let recorder = recorder_on(world, settings, Some(counting(world)), host());
    world.lock().unwrap().usage = Some(Usage { calls: 1, bytes: 100 });
    recorder
}

#[test]
fn p13_what_others_used_of_a_session_s_limits_counts() {
    let world = Shared::default();
    let recorder = sharing(&world, 3);
    calls(&recorder, &world, 4, 0.0);
    assert_eq!(counts(&recorder), [(Ending::Recorded, 2), (Ending::OverCount, 2)]);
    // Two calls of two files of 64 bytes and four lines of 3 bytes; what was reserved besides is given back.
    let usage = Usage { calls: 3, bytes: 100 + 2 * (2 * 64 + 4 * 3) };
    let world = world.lock().unwrap();
    assert_eq!(world.usage, Some(usage));
    let says = "callbox: 3 calls are dumped by all processes of the session, the most allowed; further calls are \
                logged, not dumped";
    assert_eq!(world.notices, [says]);
}

#[test]
fn p13_the_bytes_of_a_session_are_told_to_be_those_of_all_its_processes() {
    let world = Shared::default();
    let limits = Limits { max_bytes: 150, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    let recorder = recorder_on(&world, settings, Some(counting(&world)), host());
    calls(&recorder, &world, 1, 0.0);
    assert_eq!(counts(&recorder), [(Ending::OverSize, 1)]);
    let says = "callbox: a call needs more than what is left of 150 bytes for what is dumped by all processes of the \
                session; calls that do not fit are logged, not dumped";
    assert_eq!(world.lock().unwrap().notices, [says]);
}

#[test]
fn p13_usage_that_cannot_be_counted_is_a_failure_like_others() {
    let world = Shared::default();
    let recorder = sharing(&world, 3);
    world.lock().unwrap().usage = None;
    calls(&recorder, &world, 3, 0.0);
    assert_eq!(counts(&recorder), [(Ending::NotRecorded, 2), (Ending::Resting, 1)]);
    let says = "callbox: writing inputs failed: engine.norm.rms_norm: failed to lock dumps: no space; the next call \
                is tried";
    assert_eq!(world.lock().unwrap().notices[0], says);
    world.lock().unwrap().usage = Some(Usage::default());
    world.lock().unwrap().seconds += 60.0;
    calls(&recorder, &world, 1, 0.0);
    assert_eq!(recorder.health().count(Ending::Recorded), 1);
}

#[test]
fn p13_what_cannot_be_given_back_stays_counted_and_is_told() {
    let world = Shared::default();
    let recorder = sharing(&world, 3);
    let (_, call) = recorder.begin(&CALLSITE, || one(tensor(&[1]))).run(|| 5);
    world.lock().unwrap().usage = None;
    call.fail(|| RecordedError { kind: "error".to_owned(), type_name: String::new(), text: "no".to_owned() });
    assert_eq!(counts(&recorder), [(Ending::Failed, 1)]);
    let losses = recorder.health().losses().unwrap();
    let says = "none of 1 calls is lost; giving back to the limits failed once, first: 0 calls and ";
    assert!(losses.starts_with(says), "{losses}");
    assert!(losses.ends_with(" bytes stay counted as used: failed to lock dumps: no space"), "{losses}");
}

/// Is another process from a moment on, as a forked child is.
#[derive(Debug)]
struct Forking(Mutex<Arc<Process>>);

impl Host for Forking {
    fn process(&self) -> Arc<Process> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn p13_a_child_gives_nothing_back_that_its_parent_took() {
    let process = |id, token: &str| Arc::new(Process { id, host: "node".into(), token: token.into() });
    let world = Shared::default();
    let host = Arc::new(Forking(Mutex::new(process(7, "01"))));
    let recorder = recorder_on(&world, Settings::default(), Some(counting(&world)), host.clone());
    let call = recorder.begin(&CALLSITE, || one(tensor(&[1])));
    let taken = world.lock().unwrap().usage;
    *host.0.lock().unwrap() = process(8, "02");
    call.complete(|| tensor(&[3]).into());
    assert_eq!(counts(&recorder), [(Ending::Abandoned, 1)]);
    assert_eq!(world.lock().unwrap().usage, taken, "the parent gives it back, or uses it");
}

#[test]
fn p13_a_counter_that_panics_costs_the_application_nothing() {
    #[derive(Debug)]
    struct Panics;
    impl UsageCounter for Panics {
        fn take(&self, amount: Usage, _: Usage) -> Result<Option<Usage>, SinkError> {
            Ok(Some(amount))
        }
        fn give_back(&self, _: Usage) -> Result<(), SinkError> {
            panic!("counter")
        }
    }
    #[derive(Debug)]
    struct Store;
    impl UsageStore for Store {
        fn counter(&self) -> Result<Arc<dyn UsageCounter>, SinkError> {
            Ok(Arc::new(Panics))
        }
    }
    let world = Shared::default();
    let recorder = recorder_on(&world, Settings::default(), Some(Arc::new(Store)), host());
    drop(recorder.begin(&CALLSITE, || one(tensor(&[1]))));
    calls(&recorder, &world, 1, 0.0);
    assert_eq!(counts(&recorder), [(Ending::Recorded, 1), (Ending::Abandoned, 1)]);
    assert!(
        recorder.health().losses().unwrap().contains("giving back to the limits failed 2 times, first: ")
    );
}

#[test]
fn outputs_that_cannot_be_written_are_skipped_and_told_and_the_next_call_is_tried() {
    let world = Shared::default();
    let recorder = recorder(&world, Settings::default());
    world.lock().unwrap().is_full_for_outputs = true;
    calls(&recorder, &world, 3, 0.0);
    assert_eq!(counts(&recorder), [(Ending::OutputsSkipped, 3)]);
    assert_eq!(
        world.lock().unwrap().notices[0],
        "callbox: writing outputs failed: engine.norm.rms_norm: failed to write dumps: no space; the next \
         call is tried"
    );
    let faults = recorder.health().faults;
    assert_eq!(
        faults.iter().map(|fault| (fault.kind, fault.count)).collect::<Vec<_>>(),
        [(FaultKind::Outputs, 3)]
    );
}

#[test]
fn a_call_that_the_sink_cannot_take_closes_nothing_for_the_others() {
    let world = Shared::default();
    let recorder = recorder(&world, Settings { on_failure: FailurePolicy::Stop, ..Settings::default() });
    world.lock().unwrap().refuses_tensors = true;
    calls(&recorder, &world, 1, 0.0);
    world.lock().unwrap().refuses_tensors = false;
    calls(&recorder, &world, 2, 0.0);
    assert_eq!(counts(&recorder), [(Ending::Recorded, 2), (Ending::NotRecorded, 1)]);
}
