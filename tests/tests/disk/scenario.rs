//! What is recorded while the disk fails: some calls, of some size, by one or two processes.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;

use callbox_core::{
    Adapters, Callsite, Ending, FailurePolicy, Level, Limits, LiveArguments, LogSink, Process, RecordedError,
    Recorder, Settings, TensorSerializer, TensorView, UsageStore, Value,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::files::Files;
use callbox_sink_fs::{Durability, FsSink, Hashing, SinkOptions};
use callbox_testkit::fixed::FixedHost;
use callbox_testkit::sim::{CrashStates, Loss, SimDisk, Thoroughness, Tree};
use callbox_values::tensor_of;

use super::clock::HandClock;

/// Where the session lies on the simulated disk.
pub(crate) const SESSION: &str = "/runs/dumps";
/// Its index, as a listing of the disk has it.
pub(crate) const INDEX: &str = "runs/dumps/session.jsonl";

static CALLSITE: Callsite = Callsite::new("engine.ops", "scale", "(x)");

/// Calls from this number on return; they are recorded before the scenario's own, or after.
pub(crate) const OTHERS: usize = 50;
/// The call that was recorded before the scenario's own.
const EARLIER: usize = 50;

/// How the calls end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Returns,
    ReturnsAnError,
    Panics,
}

/// Who makes which calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    One,
    /// By one process, one after the other.
    Three,
    /// By two processes, one after the other.
    InTurn,
    /// By two processes, the second while the first runs.
    Nested,
    /// One, in a session that another process left with a torn line.
    AfterTornLine,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Its number among all.
    pub(crate) number: usize,
    pub(crate) format: &'static str,
    pub(crate) durability: Durability,
    /// Bytes of the tensor that goes in, and of the one that comes out.
    pub(crate) bytes: usize,
    pub(crate) shape: Shape,
    pub(crate) way: Way,
    /// The limits have room for one call of each process.
    pub(crate) is_capped: bool,
    /// The most calls, in place of what `is_capped` says.
    pub(crate) most_calls: Option<usize>,
    /// What the recorder does when the disk fails.
    pub(crate) on_failure: FailurePolicy,
    /// Bytes that are to stay free.
    pub(crate) min_free_bytes: u64,
}

/// A moment of a call, as the application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The function runs.
    Runs,
    /// The recorder is done with the call.
    Over,
}

/// What an application got from a call: bytes, an error, or the text of a panic.
pub(crate) type Answer = Result<Vec<u8>, String>;

/// What happened to the calls.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// For each moment the call, and the number of effects before it.
    pub(crate) moments: Vec<(Moment, usize, usize)>,
    /// For each call, in the order in which they ended: its number, what the application got, and how the recorder
    /// counted it.
    pub(crate) calls: Vec<(usize, Answer, Ending)>,
}

/// The processes that record a scenario.
#[derive(Debug)]
pub(crate) struct Processes<'a> {
    scenario: &'a Scenario,
    disk: &'a SimDisk,
    pub(crate) recorders: Vec<Recorder>,
    run: RefCell<Run>,
}

impl Scenario {
    /// Every combination; the sizes are those around the edges of buffers.
    pub(crate) fn all() -> Vec<Scenario> {
        let mut all = Vec::new();
        for format in ["pt", "safetensors"] {
            for durability in [Durability::Process, Durability::System] {
                for bytes in [0, 1, 8191, 8192, 8193, 1 << 20] {
                    for shape in
                        [Shape::One, Shape::Three, Shape::InTurn, Shape::Nested, Shape::AfterTornLine]
                    {
                        for (way, is_capped) in [
                            (Way::Returns, false),
                            (Way::Returns, true),
                            (Way::ReturnsAnError, false),
                            (Way::Panics, false),
                        ] {
                            let (number, on_failure) = (all.len(), FailurePolicy::Skip);
                            all.push(Scenario {
                                number,
                                format,
                                durability,
                                bytes,
                                shape,
                                way,
                                is_capped,
                                most_calls: None,
                                on_failure,
                                min_free_bytes: Limits::default().min_free_bytes,
                            });
                        }
                    }
                }
            }
        }
        all
    }

    /// So many combinations without the largest size, spread over all.
    pub(crate) fn some(count: usize) -> Vec<Scenario> {
        let small: Vec<_> = Scenario::all().into_iter().filter(|scenario| scenario.bytes < 1 << 20).collect();
        // Steps that share no factor with the number of ways and shapes, so that each way meets each shape.
        (0..count).map(|place| small[place * 7919 % small.len()]).collect()
    }

    /// So many of the largest size, spread over all.
    pub(crate) fn large(count: usize) -> Vec<Scenario> {
        let large: Vec<_> =
            Scenario::all().into_iter().filter(|scenario| scenario.bytes == 1 << 20).collect();
        (0..count).map(|place| large[place * 7919 % large.len()]).collect()
    }

    /// The limits are those of all its processes together: of some scenarios.
    pub(crate) fn shares_limits(&self) -> bool {
        self.is_capped && self.format == "safetensors"
    }

    pub(crate) fn max_count(&self) -> usize {
        let most = match self.is_capped {
            false => 1000,
            true if self.shares_limits() => self.processes(),
            true => 1,
        };
        self.most_calls.unwrap_or(most)
    }

    fn processes(&self) -> usize {
        match self.shape {
            Shape::One | Shape::Three | Shape::AfterTornLine => 1,
            Shape::InTurn | Shape::Nested => 2,
        }
    }

    /// Returns what is on the disk before.
    pub(crate) fn before(&self) -> Tree {
        if self.shape != Shape::AfterTornLine {
            return Tree::default();
        }
        let disk = SimDisk::default();
        let others = self.others();
        let other = others.recorder(&disk, 9, &HandClock::default(), None);
        assert_eq!(others.call(&other, EARLIER, || {}).1, Ending::Recorded);
        let (effects, tree) = (disk.effects(), Tree::default());
        let thoroughness = Thoroughness { every_byte_up_to: 0, random: 0 };
        let states = CrashStates::of(&tree, &effects, Loss::Process, thoroughness);
        // The last effect that can be cut is the last line of the session.
        let mut cuts = (0..effects.len()).rev().map(|prefix| (prefix, states.choices(prefix, &mut || 0)));
        let (prefix, cuts) = cuts.find(|(_, choices)| choices.len() > 1).unwrap();
        states.state(prefix, &cuts[cuts.len() / 2])
    }

    /// The scenario of calls that always return.
    pub(crate) fn others(&self) -> Scenario {
        Scenario { way: Way::Returns, is_capped: false, ..*self }
    }

    pub(crate) fn serializer(&self) -> Arc<dyn TensorSerializer> {
        match self.format {
            "pt" => Arc::new(PtSerializer),
            _ => Arc::new(SafetensorsSerializer),
        }
    }

    /// Builds the recorder of a process; all processes have one id, as in two containers.
    pub(crate) fn recorder(
        &self,
        disk: &SimDisk,
        process: u64,
        clock: &HandClock,
        log: Option<Arc<dyn LogSink>>,
    ) -> Recorder {
        self.recorder_on(Arc::new(disk.clone()), Path::new(SESSION), process, clock, log)
    }

    /// As [`Scenario::recorder`], on any file system.
    pub(crate) fn recorder_on(
        &self,
        files: Arc<dyn Files>,
        session: &Path,
        process: u64,
        clock: &HandClock,
        log: Option<Arc<dyn LogSink>>,
    ) -> Recorder {
        let options = SinkOptions {
            root: session.to_owned(),
            format: self.serializer(),
            fallback: None,
            durability: self.durability,
            hashing: Hashing::Xxh3,
        };
        let dumps = Arc::new(FsSink::on(files, options));
        let usage = self.shares_limits().then(|| dumps.clone() as Arc<dyn UsageStore>);
        let limits = Limits {
            max_count: self.max_count() as u64,
            min_free_bytes: self.min_free_bytes,
            ..Limits::default()
        };
        let (id, host, token) = (7, "node".into(), format!("{process:016x}").into());
        Recorder::new(
            Settings { level: Level::Dumps, limits, on_failure: self.on_failure, ..Settings::default() },
            Adapters {
                log,
                dumps: Some(dumps),
                usage,
                clock: Arc::new(clock.clone()),
                host: Arc::new(FixedHost(Arc::new(Process { id, host, token }))),
            },
        )
    }

    /// Records one call; gives what the application gets, and how the recorder counts it.
    pub(crate) fn call(&self, recorder: &Recorder, call: usize, runs: impl FnOnce()) -> (Answer, Ending) {
        let before = recorder.health();
        let answer = self.answer(recorder, call, runs);
        let after = recorder.health();
        let mut changed =
            Ending::ALL.into_iter().filter(|ending| after.count(*ending) > before.count(*ending));
        let ending = changed.next().unwrap_or_else(|| panic!("call {call} is not in the books: {after:?}"));
        assert_eq!(after.reached, before.reached + 1, "a call is reached once");
        assert_eq!(after.count(ending), before.count(ending) + 1, "a call ends once");
        assert_eq!((changed.next(), after.running()), (None, 0), "a call ends in one way");
        (answer, ending)
    }

    fn answer(&self, recorder: &Recorder, call: usize, runs: impl FnOnce()) -> Answer {
        let x = self.input(call);
        let pending = recorder.begin(&CALLSITE, || LiveArguments {
            positional: vec![value(&x), Value::int(call as i64)],
            ..LiveArguments::default()
        });
        let body = AssertUnwindSafe(|| {
            pending.run(|| {
                runs();
                match self.way {
                    Way::Returns => Ok(self.output(call)),
                    Way::ReturnsAnError => Err("no such page".to_owned()),
                    Way::Panics => resume_unwind(Box::new("index out of range")),
                }
            })
        });
        let (result, pending) = match catch_unwind(body) {
            Ok(returned) => returned,
            Err(panic) => return Err(panic.downcast_ref::<&str>().map_or("?", |text| text).to_owned()),
        };
        pending.end(|| match &result {
            Ok(output) => Ok(value(output).into()),
            Err(text) => {
                let (kind, type_name) = ("error".to_owned(), "String".to_owned());
                Err(RecordedError { kind, type_name, text: text.clone() })
            }
        });
        result
    }

    pub(crate) fn input(&self, call: usize) -> Vec<u8> {
        pattern(self.bytes, call as u8 + 1)
    }

    pub(crate) fn output(&self, call: usize) -> Vec<u8> {
        pattern(self.bytes, call as u8 + 101)
    }

    /// Tells how a call ends.
    pub(crate) fn way_of(&self, call: usize) -> Way {
        if call < OTHERS { self.way } else { Way::Returns }
    }

    /// Tells what the application gets from a call without a recorder.
    pub(crate) fn expected_answer(&self, call: usize) -> Answer {
        match self.way {
            Way::Returns => Ok(self.output(call)),
            Way::ReturnsAnError => Err("no such page".to_owned()),
            Way::Panics => Err("index out of range".to_owned()),
        }
    }

    /// Tells how the recorder's books should say that a call ended, on a sound disk.
    pub(crate) fn expected_ending(&self, call: usize) -> Ending {
        match self.way {
            _ if self.is_capped && call >= self.processes() => Ending::OverCount,
            Way::Returns => Ending::Recorded,
            Way::ReturnsAnError | Way::Panics => Ending::Failed,
        }
    }
}

impl<'a> Processes<'a> {
    pub(crate) fn of(
        scenario: &'a Scenario,
        disk: &'a SimDisk,
        clock: &HandClock,
        log: Option<Arc<dyn LogSink>>,
    ) -> Processes<'a> {
        let recorder = |process| scenario.recorder(disk, process as u64, clock, log.clone());
        let recorders = (0..scenario.processes()).map(recorder).collect();
        Processes { scenario, disk, recorders, run: RefCell::default() }
    }

    /// Makes the scenario's calls.
    pub(crate) fn run(self) -> (Run, Vec<Recorder>) {
        match self.scenario.shape {
            Shape::One | Shape::AfterTornLine => self.call(0, 0, || {}),
            Shape::Three => (0..3).for_each(|call| self.call(0, call, || {})),
            Shape::InTurn => (0..4).for_each(|call| self.call(call % 2, call, || {})),
            Shape::Nested => self.call(0, 0, || self.call(1, 1, || {})),
        }
        (self.run.into_inner(), self.recorders)
    }

    fn call(&self, process: usize, call: usize, meanwhile: impl FnOnce()) {
        let mark = |moment| self.run.borrow_mut().moments.push((moment, call, self.disk.effect_count()));
        let runs = || {
            mark(Moment::Runs);
            meanwhile();
        };
        let (answer, ending) = self.scenario.call(&self.recorders[process], call, runs);
        mark(Moment::Over);
        self.run.borrow_mut().calls.push((call, answer, ending));
    }
}

/// Bytes that are nowhere zero, so that a hole in a file shows.
fn pattern(len: usize, start: u8) -> Vec<u8> {
    (0..len).map(|place| (place as u8).wrapping_mul(7).wrapping_add(start).max(1)).collect()
}

fn value(bytes: &[u8]) -> Value<TensorView<'_>> {
    Value::Tensor(tensor_of::<u8>(bytes, &[bytes.len()]).unwrap())
}
