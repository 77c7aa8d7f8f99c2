//! Flushes of a captured call: every crash, and every error of every operation, between two of them.
//!
//! The graph makes `out` the double of `x`: what is read together must be of one flush.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use callbox_core::error::chain;
use callbox_core::{
    Adapters, CallState, Callsite, DType, DumpSource, DumpedCall, FailurePolicy, Group, Level, LiveArguments,
    LoadedTensor, Process, Recorder, Settings, TensorSerializer, UsageStore, Value,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{Durability, FsSink, FsSource, Hashing, ReadOptions, SinkOptions};
use callbox_testkit::GraphMemory;
use callbox_testkit::fixed::FixedHost;
use callbox_testkit::sim::{CrashStates, Failure, Loss, Script, SimDisk, Thoroughness, Tree};
use callbox_tests::Random;
use callbox_verify::{VerifyOptions, verify};

use super::clock::{HandClock, MINUTE};
use super::crash::fingerprint;
use super::mirror::Mirror;
use super::notices::Notices;
use super::scenario::SESSION;
use super::seed::seed;

static CALLSITE: Callsite = Callsite::new("engine.ops", "double", "(x)");

const WAYS: [(Durability, Loss); 2] =
    [(Durability::Process, Loss::Process), (Durability::System, Loss::System)];

fn formats() -> [Arc<dyn TensorSerializer>; 2] {
    [Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)]
}

/// How a call is recorded.
#[derive(Clone)]
struct Setup {
    durability: Durability,
    format: Arc<dyn TensorSerializer>,
    /// The limits are those of all processes together.
    shares_limits: bool,
    on_failure: FailurePolicy,
}

/// An application that captured a call into a graph.
struct Application {
    recorder: Recorder,
    notices: Arc<Notices>,
    clock: HandClock,
    x: GraphMemory,
    out: GraphMemory,
}

impl Setup {
    fn new(durability: Durability, format: Arc<dyn TensorSerializer>) -> Setup {
        Setup { durability, format, shares_limits: false, on_failure: FailurePolicy::Skip }
    }

    /// Each format with each durability, and limits that are shared, whose count is written to the disk too.
    fn all() -> Vec<Setup> {
        let mut all: Vec<_> = WAYS
            .into_iter()
            .flat_map(|(durability, _)| formats().map(|format| Setup::new(durability, format)))
            .collect();
        all.extend(WAYS.map(|(durability, _)| {
            let setup = Setup::new(durability, Arc::new(SafetensorsSerializer));
            Setup { shares_limits: true, ..setup }
        }));
        all
    }

    /// Captures a call on a disk.
    fn start(&self, disk: &SimDisk) -> Application {
        let options = SinkOptions {
            root: Path::new(SESSION).to_owned(),
            format: self.format.clone(),
            fallback: None,
            durability: self.durability,
            hashing: Hashing::Xxh3,
        };
        let dumps = Arc::new(FsSink::on(Arc::new(disk.clone()), options));
        let usage = self.shares_limits.then(|| dumps.clone() as Arc<dyn UsageStore>);
        let (id, host, token) = (7, "node".into(), "00".into());
        let (clock, notices) = (HandClock::default(), Arc::new(Notices::default()));
        let recorder = Recorder::new(
            Settings { level: Level::Dumps, on_failure: self.on_failure, ..Settings::default() },
            Adapters {
                log: Some(notices.clone()),
                dumps: Some(dumps),
                usage,
                clock: Arc::new(clock.clone()),
                host: Arc::new(FixedHost(Arc::new(Process { id, host, token }))),
            },
        );
        let [x, out] = [0, 0].map(|byte| GraphMemory::new(&[byte; 16]));
        let application = Application { recorder, notices, clock, x, out };
        application.capture();
        application
    }
}

impl Application {
    fn capture(&self) {
        [&self.x, &self.out].iter().for_each(|memory| memory.set_capturing(true));
        let tensor = |memory| Value::Tensor(GraphMemory::view(memory, DType::UInt8, &[16]));
        let arguments = || LiveArguments { positional: vec![tensor(&self.x)], ..LiveArguments::default() };
        self.recorder.begin(&CALLSITE, arguments).complete(|| tensor(&self.out).into());
        [&self.x, &self.out].iter().for_each(|memory| memory.set_capturing(false));
    }

    /// Runs the graph and flushes; returns how many groups were written.
    fn launch(&self, byte: u8) -> usize {
        self.x.write(&[byte; 16]);
        self.out.write(&[2 * byte; 16]);
        self.recorder.flush_graph_dumps()
    }
}

fn open(folder: &Path) -> Result<(FsSource, DumpedCall), String> {
    let source =
        FsSource::open(folder, formats().into(), ReadOptions::default()).map_err(|error| chain(&error))?;
    let mut calls = source.calls().map_err(|error| chain(&error))?.calls;
    match calls.pop() {
        Some(call) if calls.is_empty() => Ok((source, call)),
        other => Err(format!("{} calls beside {other:?}", calls.len())),
    }
}

/// The byte of which a group's tensor consists.
fn byte(source: &FsSource, call: &DumpedCall, group: Group) -> Result<Option<u8>, String> {
    let tensors = source.load(call, group).map_err(|error| format!("{}: {}", group.stem(), chain(&error)))?;
    let Some(tensors) = tensors else { return Ok(None) };
    match tensors.iter().next() {
        Some((_, LoadedTensor::Whole(tensor))) => Ok(Some(tensor.to_bytes()[0])),
        other => Err(format!("{} are {other:?}", group.stem())),
    }
}

/// Checks that a call's tensors are those of one flush; returns its byte, 0 where there is none.
fn check_call(source: &FsSource, call: &DumpedCall) -> Result<u8, String> {
    let has_outputs = match &call.state {
        CallState::GraphPending => return Ok(0),
        CallState::Completed => true,
        CallState::GraphCaptured | CallState::OutputsUnconfirmed => false,
        state => return Err(format!("the call is {state:?}")),
    };
    let x = byte(source, call, Group::Inputs)?.ok_or("there are no inputs")?;
    match byte(source, call, Group::Outputs)? {
        None if has_outputs => Err("there are no outputs".to_owned()),
        Some(out) if out != 2 * x => Err(format!("inputs are {x}, outputs {out}")),
        None | Some(_) => Ok(x),
    }
}

/// Checks a session; returns the byte of the flush that it shows.
fn check(folder: &Path) -> Result<u8, String> {
    let (source, call) = open(folder)?;
    for flush in 1.. {
        let snapshot = folder.join(&call.folder).join(format!("graph_flushes/flush_{flush:04}"));
        if !snapshot.join("metadata.jsonl").is_file() {
            break;
        }
        match open(&snapshot) {
            Ok((source, call)) if call.state == CallState::Completed => {
                check_call(&source, &call).map_err(|fault| format!("{}: {fault}", snapshot.display()))?;
            }
            // It was not finished.
            Ok(_) | Err(_) => {}
        }
    }
    let report = verify(
        &VerifyOptions { dir: folder, formats: formats().into(), read: ReadOptions::default() },
        &mut |_, _| (),
    );
    // A line that is cut off is lost, and that is all.
    let damages = report.map_err(|error| chain(&error))?.damages;
    match damages.iter().find(|damage| !damage.reason.contains("this line is lost")) {
        Some(damage) => Err(damage.to_string()),
        None => check_call(&source, &call),
    }
}

#[test]
fn every_state_that_a_crash_leaves_shows_one_flush_and_the_last_one_that_ended() {
    let mut states_seen = 0;
    for (durability, loss) in WAYS {
        for (number, format) in formats().into_iter().enumerate() {
            let disk = SimDisk::default();
            let application = Setup::new(durability, format).start(&disk);
            let mut ends = vec![disk.effect_count()];
            for byte in [1, 2] {
                assert_eq!(application.launch(byte), 2);
                ends.push(disk.effect_count());
            }
            let (effects, before) = (disk.effects(), Tree::default());
            let thoroughness = Thoroughness { every_byte_up_to: 64, random: 4 };
            let states = CrashStates::of(&before, &effects, loss, thoroughness);
            let (mut mirror, mut known) = (Mirror::new(), HashSet::new());
            for prefix in ends[0]..=effects.len() {
                let least = ends.iter().filter(|end| **end <= prefix).count() as u8 - 1;
                let mut random = Random::of(seed(), &[number, prefix]);
                for choice in states.choices(prefix, &mut || random.next()) {
                    let state = states.state(prefix, &choice);
                    states_seen += 1;
                    if !known.insert((fingerprint(&state), least)) {
                        continue;
                    }
                    mirror.show(&state);
                    let seen = check(&mirror.path_of(SESSION));
                    assert!(
                        matches!(seen, Ok(seen) if seen >= least),
                        "{durability}: {seen:?} where at least {least} is due, after {prefix} of {} effects, then \
                         {:?}: {choice}; kept in {:?}",
                        effects.len(),
                        effects.get(prefix),
                        mirror.keep()
                    );
                }
            }
        }
    }
    println!("figures: crashes while captured calls are flushed: {states_seen} states, 0 violations");
    assert!(states_seen > 1000, "{states_seen} states are too few");
}

/// A failure of the second flush.
#[derive(Clone, Copy, Debug)]
struct Injection {
    at: usize,
    #[expect(dead_code, reason = "it is only printed")]
    name: &'static str,
    failure: Failure,
    for_good: bool,
}

/// Every failure of every operation of the second flush.
fn injections(setup: &Setup) -> Vec<Injection> {
    let disk = SimDisk::default();
    let application = setup.start(&disk);
    application.launch(1);
    let first = disk.operations().len();
    application.launch(2);
    let mut all = Vec::new();
    for (at, act) in disk.operations().into_iter().enumerate().skip(first) {
        for (name, failure) in Failure::ALL.into_iter().filter(|(_, failure)| failure.concerns(act)) {
            all.extend([false, true].map(|for_good| Injection { at, name, failure, for_good }));
        }
    }
    all
}

/// Shows the disk of an application of which some flushes were seen to be whole before.
#[derive(Default)]
struct Looker {
    mirror: Option<Mirror>,
    known: HashSet<(u64, Vec<u8>)>,
}

impl Looker {
    /// Checks that one of these flushes is seen.
    fn look(&mut self, disk: &SimDisk, expected: &[u8], what: &dyn std::fmt::Debug) {
        let tree = disk.tree();
        if self.known.insert((fingerprint(&tree), expected.to_vec())) {
            let mirror = self.mirror.get_or_insert_with(Mirror::new);
            mirror.show(&tree);
            let seen = check(&mirror.path_of(SESSION));
            assert!(seen.as_ref().is_ok_and(|seen| expected.contains(seen)), "{what:?}: {seen:?}");
        }
    }
}

/// Flushes twice, the second time with a failure.
fn inject(setup: &Setup, injection: Injection) -> (SimDisk, Application) {
    let disk = SimDisk::default();
    let application = setup.start(&disk);
    application.launch(1);
    let Injection { at, failure, for_good, .. } = injection;
    disk.set_script(Some(Script { at, failure, for_good }));
    application.launch(2);
    assert!(disk.failures() > 0, "{injection:?}");
    disk.set_script(None);
    // Recording rests no longer.
    application.clock.advance(MINUTE);
    (disk, application)
}

#[test]
fn whatever_operation_of_a_flush_fails_the_next_one_is_whole() {
    let mut count = 0;
    for setup in Setup::all() {
        let mut looker = Looker::default();
        for injection in injections(&setup) {
            let (disk, application) = inject(&setup, injection);
            looker.look(&disk, &[1, 2], &injection);
            assert_eq!(application.launch(3), 2, "{injection:?}: {:?}", application.recorder.health());
            looker.look(&disk, &[3], &injection);
            count += 1;
        }
    }
    println!("figures: failing operations of a flush: {count} injections, 0 violations");
    assert!(count > 200, "{count} injections are too few");
}

#[test]
fn a_failure_that_stops_recording_stops_flushes_and_that_is_told() {
    let mut stopped = 0;
    for setup in Setup::all() {
        let setup = Setup { on_failure: FailurePolicy::Stop, ..setup };
        let mut looker = Looker::default();
        for injection in injections(&setup) {
            let (disk, application) = inject(&setup, injection);
            let is_stopped = application.notices.say("no more calls are dumped");
            looker.look(&disk, &[1, 2], &injection);
            assert_eq!(application.launch(3), if is_stopped { 0 } else { 2 }, "{injection:?}");
            looker.look(&disk, if is_stopped { &[1, 2] } else { &[3] }, &injection);
            let told = "1 captured call was not flushed: recording was stopped by a failure";
            assert_eq!(application.notices.say(told), is_stopped, "{injection:?}");
            stopped += usize::from(is_stopped);
        }
    }
    assert!(stopped > 200, "{stopped} failures that stop are too few");
}
