//! Every hostile file and folder, through the doors by which a program reads sessions: what each gives, how long
//! that takes, and how much memory.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callbox_core::error::chain;
use callbox_core::{
    Arguments, CallState, Contract, Device, DumpSource, DumpedCall, ExecError, Executor, Finding,
    FunctionName, Group, Instance, LoadedTensor, OwnedValue, SourceError, Stats, Value,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_replay::{Objects, ReplayOptions, Verdict, replay_from_dump};
use callbox_sink_fs::{FsSource, ReadOptions};
use callbox_testkit::hostile::{
    Case, Expected, FOLDER, FolderCase, Kind, Place, Refusal, all, folders, inputs, line,
};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::MIB;
use crate::allocator::{alone, peak_of};

/// What a reader may allocate, beside twice the size of the file.
const MEMORY: usize = 64 * MIB;
/// How long each thing that is asked about a file may take, in time of the processor: other programs have their share of
/// the machine. Debug builds check each addition and index, and run on machines where a neighbour shares the core: they
/// are given four times as long. Run with `--release` to hold readers to what is promised.
const TIME: Duration = Duration::from_millis(if cfg!(debug_assertions) { 400 } else { 100 });
/// How long for a file with nothing wrong but that a megabyte of it is one argument: all of it is read and handed to the
/// function.
const TIME_TO_READ: Duration = TIME.saturating_mul(2);
/// How long it may take by the clock, however busy the machine: nothing waits for somebody else.
const PATIENCE: Duration = Duration::from_secs(20);
/// The best of so many runs counts.
const RUNS: usize = 5;

/// Runs every function of the module `m`, which does nothing.
#[derive(Debug)]
struct Anything;

impl Executor for Anything {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn contract(&self, function: &FunctionName) -> Option<Contract> {
        (function.module() == "m").then(Contract::default)
    }

    fn call(&mut self, _: &FunctionName, _: &mut Arguments) -> Result<OwnedValue, ExecError> {
        Ok(Value::None)
    }

    fn construct(&mut self, name: &FunctionName, _: &mut Arguments) -> Result<Box<dyn Instance>, ExecError> {
        Err(ExecError::NoExecutor(name.clone()))
    }
}

/// Everything that reading a session's one call gave.
#[derive(Debug)]
struct Answer {
    session: Vec<Finding>,
    call: DumpedCall,
    record: Result<Vec<Finding>, SourceError>,
    /// Time of the processor that the slowest of these took.
    slowest: Duration,
    /// Remarks about the inputs; `None` where the call has no such file.
    inputs: Result<Option<Vec<Finding>>, SourceError>,
    verdict: Verdict,
}

/// Does what a program does with a session: opens, lists, reads records, loads tensors, copies them out, replays.
fn read(path: &Path) -> Result<Answer, SourceError> {
    let formats = vec![Arc::new(PtSerializer) as _, Arc::new(SafetensorsSerializer) as _];
    let mut slowest = Duration::ZERO;
    let (source, mut session) = timed(&mut slowest, || {
        let source = FsSource::open(path, formats, ReadOptions::default())?;
        let session = source.calls()?;
        Ok::<_, SourceError>((source, session))
    })?;
    assert_eq!(session.calls.len(), 1, "whatever is in the files, the call is listed: {session:?}");
    let call = session.calls.remove(0);
    let inputs = timed(&mut slowest, || source.load(&call, Group::Inputs)).map(|tensors| {
        let tensors = tensors?;
        for (_, tensor) in tensors.iter() {
            if let LoadedTensor::Whole(tensor) = tensor {
                timed(&mut slowest, || drop(tensor.to_f32()));
                timed(&mut slowest, || Stats::of(tensor));
            }
        }
        Some(Finding::unchecked(&call, Group::Inputs, &tensors).into_iter().collect())
    });
    let record = timed(&mut slowest, || source.record(&call).map(|loaded| loaded.findings));
    let (options, mut objects) = (ReplayOptions::default(), Objects::default());
    let replay = || replay_from_dump(&source, &call, &mut Anything, &mut objects, &options).verdict;
    let verdict = timed(&mut slowest, replay);
    Ok(Answer { session: session.findings, call, record, slowest, inputs, verdict })
}

/// Does one thing that a program asks for, and keeps its time of the processor if it is the longest so far.
fn timed<T>(slowest: &mut Duration, work: impl FnOnce() -> T) -> T {
    let before = processor_time();
    let answer = work();
    *slowest = (*slowest).max(processor_time() - before);
    answer
}

/// What cases gave in place of what they should.
#[derive(Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn check(&mut self, holds: bool, complaint: impl FnOnce() -> String) {
        if !holds {
            self.0.push(complaint());
        }
    }

    #[track_caller]
    fn none(self) {
        assert!(self.0.is_empty(), "{} complaints:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Reads a session and checks time and memory; `size` is that of the largest file.
#[expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
fn measured(
    name: &str,
    path: &Path,
    size: usize,
    time: Duration,
    complaints: &mut Complaints,
) -> Result<Answer, SourceError> {
    let (mut best, mut peak) = (Duration::MAX, 0);
    let mut answer = None;
    for _ in 0..RUNS {
        answer = None;
        let (start, busy) = (Instant::now(), processor_time());
        peak = peak_of(|| answer = Some(read(path)));
        // What could not be opened was one step.
        let slowest = answer.as_ref().and_then(|answer| answer.as_ref().ok()).map(|answer| answer.slowest);
        best = best.min(slowest.unwrap_or_else(|| processor_time() - busy));
        complaints.check(start.elapsed() <= PATIENCE, || format!("{name} waited for something"));
        if best <= time {
            break;
        }
    }
    let bound = MEMORY + 2 * size;
    println!("{:>9.3} ms {:>9} KiB of {:>9} {name}", best.as_secs_f64() * 1e3, peak >> 10, size >> 10);
    complaints.check(peak <= bound, || format!("{name}: {peak} bytes for a file of {size}, above {bound}"));
    complaints.check(best <= time, || format!("{name}: {best:?} is more than {time:?}"));
    let was_run = Path::new("pwned").exists() || path.join("pwned").exists();
    complaints.check(!was_run, || format!("{name} was run"));
    answer.expect("it was read at least once")
}

fn time_of(case: &Case) -> Duration {
    if matches!(case.expected, Expected::Read) { TIME_TO_READ } else { TIME }
}

/// Returns the time that this process has taken of the processors.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A session whose call has this file.
fn session(case: &Case) -> TempDir {
    let folder = TempDir::new().unwrap();
    let call = folder.path().join(FOLDER);
    fs::create_dir(&call).unwrap();
    let honest = line("inputs_saved");
    let (metadata, inputs_name, inputs) = match case.kind {
        Kind::Pt => (honest.as_bytes(), "inputs.pt", case.bytes.clone()),
        Kind::Safetensors => (honest.as_bytes(), "inputs.safetensors", case.bytes.clone()),
        Kind::Records => (case.bytes.as_slice(), "inputs.pt", inputs()),
    };
    fs::write(call.join("metadata.jsonl"), metadata).unwrap();
    fs::write(call.join(inputs_name), inputs).unwrap();
    if case.kind != Kind::Records {
        fs::write(folder.path().join("session.jsonl"), honest).unwrap();
    }
    folder
}

fn check(case: &Case, answer: &Answer, complaints: &mut Complaints) {
    let name = format!("{} ({:?})", case.name, case.kind);
    let findings = match case.kind {
        Kind::Pt | Kind::Safetensors => answer.inputs.as_ref().map(|found| found.clone().unwrap_or_default()),
        Kind::Records => answer.record.as_ref().map(Clone::clone),
    };
    let findings = match (findings, &case.expected) {
        (Err(error), Expected::Refused(kind, says)) => {
            let message = chain(error);
            let is_right = Refusal::of_source(error) == *kind && message.contains(says);
            // Every message names the file.
            complaints.check(is_right && message.contains(FOLDER), || {
                format!("{name}: {kind:?} with `{says}` is not {message}")
            });
            return;
        }
        (Err(error), _) => {
            return complaints.check(false, || format!("{name} is refused: {}", chain(error)));
        }
        (Ok(_), Expected::Refused(..)) => {
            return complaints.check(false, || format!("{name} is read: {answer:?}"));
        }
        (Ok(findings), _) => findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    let verdict = answer.verdict.to_string();
    let as_expected = match &case.expected {
        Expected::Noted(says) => findings.iter().any(|finding| finding.contains(says)),
        Expected::NotReplayed(says) => verdict.contains(says),
        Expected::Read => {
            let is_replayed = matches!(answer.verdict, Verdict::Incomplete { .. } | Verdict::NothingCompared);
            findings.is_empty() && (case.kind != Kind::Records || is_replayed)
        }
        Expected::Refused(..) => false,
    };
    complaints.check(as_expected, || {
        format!("{name}: {findings:?} and {verdict} where {:?} was expected", case.expected)
    });
}

#[test]
fn every_hostile_file_gives_its_own_answer_in_a_moment_and_in_little_memory() {
    let _alone = alone();
    let mut complaints = Complaints::default();
    let cases = all();
    for case in &cases {
        let session = session(case);
        let answer =
            measured(&case.name, session.path(), case.bytes.len(), time_of(case), &mut complaints).unwrap();
        check(case, &answer, &mut complaints);
    }
    println!("{} hostile files", cases.len());
    complaints.none();
}

#[test]
fn every_hostile_record_may_stand_in_the_index_too() {
    let _alone = alone();
    let mut complaints = Complaints::default();
    for case in all().iter().filter(|case| case.kind == Kind::Records) {
        let session = session(&Case { bytes: line("inputs_saved").into_bytes(), ..case.clone() });
        fs::write(session.path().join("session.jsonl"), &case.bytes).unwrap();
        let answer =
            measured(&case.name, session.path(), case.bytes.len(), time_of(case), &mut complaints).unwrap();
        let is_read = answer.record.is_ok() && answer.inputs.is_ok();
        complaints.check(is_read, || format!("{}: {answer:?}", case.name));
    }
    complaints.none();
}

/// Says where and how something wrong with a session shows.
fn shown(answer: &Result<Answer, SourceError>) -> Vec<(Place, String)> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return vec![(Place::Open, chain(error))],
    };
    let mut shown: Vec<_> = answer.session.iter().map(|finding| (Place::List, finding.to_string())).collect();
    if let CallState::Damaged { reason } = &answer.call.state {
        shown.push((Place::State, reason.clone()));
    }
    shown.extend(answer.record.as_ref().err().map(|error| (Place::Record, chain(error))));
    match &answer.inputs {
        Ok(Some(_)) => shown.push((Place::Nowhere, String::new())),
        Ok(None) => {}
        Err(error) => shown.push((Place::Inputs, chain(error))),
    }
    shown
}

/// Root opens what its mode forbids.
fn may_read_everything(case: &FolderCase, path: &Path) -> bool {
    case.name == "inputs_unreadable" && File::open(path.join(FOLDER).join("inputs.pt")).is_ok()
}

#[test]
fn every_hostile_folder_shows_what_is_wrong_in_its_place_in_a_moment_and_in_little_memory() {
    let _alone = alone();
    let mut complaints = Complaints::default();
    for case in folders() {
        let session = TempDir::new().unwrap();
        (case.build)(session.path());
        let answer = measured(case.name, session.path(), 0, TIME, &mut complaints);
        let place = if may_read_everything(&case, session.path()) { Place::Nowhere } else { case.shows };
        let shown = shown(&answer);
        let says = if place == case.shows { case.says } else { "" };
        let found = shown.iter().any(|(at, message)| *at == place && message.contains(says));
        let alone = place != Place::Nowhere || shown.len() == 1;
        complaints.check(found && alone, || format!("{}: {shown:?} in place of {place:?}", case.name));
    }
    complaints.none();
}
