//! Every operation fails in every way, once and for good; then the disk is well again.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use callbox_core::{CallState, Ending, FailurePolicy, Fault, FaultKind, Recorder};
use callbox_sink_fs::Durability;
use callbox_testkit::sim::{Act, CrashStates, Failure, Loss, Script, SimDisk, Thoroughness, Tree};
use callbox_tests::{Random, soaks};

use super::clock::{HandClock, MINUTE};
use super::crash::fingerprint;
use super::mirror::Mirror;
use super::notices::{MOST_IN_A_MINUTE, Notices};
use super::scenario::{OTHERS, Processes, SESSION, Scenario, Shape};
use super::seed::{only, replay, seed, spread};
use super::verdict::{Seen, index_lines, look, torn_lines};

/// Names one injection: number of the scenario, of the operation, of the failure, 1 for one that stays.
const INJECTION: &str = "CALLBOX_INJECTION";

/// Calls of each recorder when the disk is well again; the first one's number, and how many.
const AFTERWARDS: usize = OTHERS + 20;
const AFTERWARDS_EACH: usize = 2;

/// One failure of a run; what it is called is for those who read of it.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "some of it is only printed")]
struct Injection {
    at: usize,
    act: Act,
    name: &'static str,
    failure: Failure,
    for_good: bool,
}

/// What came of it.
struct Outcome {
    /// For each call its number, the recorder's, and how it was counted.
    endings: Vec<(usize, usize, Ending)>,
    before: Tree,
    /// What was on the disk when it was well again, and after some more calls.
    tree: Tree,
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the time is one of the figures")]
fn whatever_operation_fails_the_calls_are_as_without_a_recorder_and_recording_resumes() {
    let start = Instant::now();
    let only = only(INJECTION);
    let count = if soaks() { 60 } else { 10 };
    let mut scenarios: Vec<Scenario> = Scenario::some(count)
        .into_iter()
        .chain(Scenario::all().into_iter().find(|scenario| {
            // Whose count is synced too.
            let is_synced = scenario.durability == Durability::System && scenario.bytes == 1;
            scenario.shares_limits() && is_synced && scenario.shape == Shape::InTurn
        }))
        .enumerate()
        .map(|(place, scenario)| {
            let stops = place % 5 == 4;
            Scenario { on_failure: if stops { FailurePolicy::Stop } else { FailurePolicy::Skip }, ..scenario }
        })
        .collect();
    if let Some(place) = &only {
        scenarios.retain(|scenario| scenario.number == place[0]);
    }
    let injections = AtomicU64::new(0);
    let outcome = spread(&scenarios, |scenario| check_scenario(scenario, only.as_deref(), &injections));
    let injections = injections.into_inner();
    println!(
        "figures: failing operations: {} scenarios, {injections} injections, {} violations, {:.1} s, seed {}",
        scenarios.len(),
        u8::from(outcome.is_err()),
        start.elapsed().as_secs_f64(),
        seed()
    );
    outcome.unwrap();
    let least = if soaks() { 50_000 } else { 5_000 };
    assert!(injections >= least || only.is_some(), "{injections} injections are too few");
}

fn check_scenario(scenario: &Scenario, only: Option<&[usize]>, count: &AtomicU64) -> Result<(), String> {
    let disk = SimDisk::of(scenario.before());
    Processes::of(scenario, &disk, &HandClock::default(), None).run();
    let (mut mirror, mut known) = (Mirror::new(), HashSet::new());
    for (at, act) in disk.operations().into_iter().enumerate() {
        for (kind, (name, failure)) in Failure::ALL.into_iter().enumerate() {
            if !failure.concerns(act) {
                continue;
            }
            for for_good in [false, true] {
                let place = [scenario.number, at, kind, usize::from(for_good)];
                if only.is_some_and(|only| only != place) {
                    continue;
                }
                count.fetch_add(1, Ordering::Relaxed);
                let injection = Injection { at, act, name, failure, for_good };
                let checked = || check_injection(scenario, injection, &mut mirror, &mut known);
                let checked = catch_unwind(AssertUnwindSafe(checked)).unwrap_or_else(|panic| {
                    Err(panic.downcast_ref::<String>().map_or("it panicked", |text| text).to_owned())
                });
                checked.map_err(|fault| {
                    let again = replay(INJECTION, &place);
                    format!("{fault}\n{injection:?}\n{scenario:?}\nagain with: {again}")
                })?;
            }
        }
    }
    Ok(())
}

fn check_injection(
    scenario: &Scenario,
    injection: Injection,
    mirror: &mut Mirror,
    known: &mut HashSet<(u64, Vec<Ending>)>,
) -> Result<(), String> {
    let before = scenario.before();
    let disk = SimDisk::of(before.clone());
    let outcome = inject(scenario, injection, &disk, before)?;
    let is_left = is_left(scenario, injection);
    if goes_on(&outcome) || !injection.for_good {
        check_no_temporary(&outcome)?;
    }
    let endings = outcome.endings.iter().map(|(.., ending)| *ending).collect();
    if known.insert((fingerprint(&outcome.tree), endings)) {
        mirror.show(&outcome.tree);
        let seen = look(scenario, &mirror.path_of(SESSION))?;
        check_session(&outcome, &seen)?;
        if !is_left {
            check_nobodys(&outcome, injection, &seen)?;
        }
    }
    if scenario.durability == Durability::System && !injection.for_good {
        check_loss_of_power(scenario, &outcome, &disk, mirror)?;
    }
    Ok(())
}

/// Records while the disk fails, and when it is well again.
fn inject(
    scenario: &Scenario,
    injection: Injection,
    disk: &SimDisk,
    before: Tree,
) -> Result<Outcome, String> {
    let (clock, log) = (HandClock::default(), Arc::new(Notices::default()));
    let Injection { at, failure, for_good, .. } = injection;
    disk.set_script(Some(Script { at, failure, for_good }));
    let (run, recorders) = Processes::of(scenario, disk, &clock, Some(log.clone())).run();
    if disk.failures() == 0 {
        return Err("nothing failed".to_owned());
    }
    let mut endings = Vec::new();
    for (call, answer, ending) in run.calls {
        if answer != scenario.expected_answer(call) {
            return Err(format!("the application got {answer:?} from call {call}"));
        }
        endings.push((call, call % recorders.len(), ending));
    }
    let told = log.count();
    if told > MOST_IN_A_MINUTE * recorders.len() {
        return Err(format!("{told} warnings in a minute"));
    }

    disk.set_script(None);
    clock.advance(MINUTE);
    for (process, recorder) in recorders.iter().enumerate() {
        for number in 0..AFTERWARDS_EACH {
            let call = AFTERWARDS + AFTERWARDS_EACH * process + number;
            let of_process =
                || endings.iter().filter(|(_, of, _)| *of == process).map(|(.., ending)| *ending);
            let kept = match scenario.shares_limits() {
                false => of_process().filter(|ending| is_kept(*ending)).count(),
                true => endings.iter().filter(|(.., ending)| is_kept(*ending)).count(),
            };
            let expected = if scenario.on_failure == FailurePolicy::Stop && of_process().any(is_failure) {
                Ending::Stopped
            } else if scenario.is_capped && kept >= scenario.max_count() {
                Ending::OverCount
            } else {
                Ending::Recorded
            };
            let others = Scenario { is_capped: scenario.is_capped, ..scenario.others() };
            let (answer, ending) = others.call(recorder, call, || {});
            // What could not be given back stays counted.
            let is_less = ending == Ending::OverCount && recorders.iter().any(has_counted_too_much);
            if !(ending == expected || is_less) || answer != others.expected_answer(call) {
                let losses = recorder.health().losses();
                return Err(format!("the disk is well, call {call} is {ending}, not {expected}: {losses:?}"));
            }
            endings.push((call, process, ending));
        }
    }
    Ok(Outcome { endings, before, tree: disk.tree() })
}

/// What was reserved could not be given back, or not be taken back when it could not be synced.
fn has_counted_too_much(recorder: &Recorder) -> bool {
    let tells =
        |fault: &Fault| fault.kind == FaultKind::Limits || fault.first.contains(", after: failed to sync");
    recorder.health().faults.iter().any(tells)
}

/// The sink failed over the call.
fn is_failure(ending: Ending) -> bool {
    matches!(ending, Ending::NotRecorded | Ending::OutputsSkipped | Ending::Unfinished)
}

/// The call is on disk.
fn is_kept(ending: Ending) -> bool {
    matches!(ending, Ending::Recorded | Ending::Failed | Ending::OutputsSkipped | Ending::Unfinished)
}

/// Tells whether something may be left that could not be removed: a recorder that was stopped by a failure that stays
/// dumps nothing more, neither does it clean up.
fn is_left(scenario: &Scenario, injection: Injection) -> bool {
    scenario.on_failure == FailurePolicy::Stop && injection.for_good
}

/// Tells whether calls are dumped when the disk is well again. The first of them cleans up.
fn goes_on(outcome: &Outcome) -> bool {
    let afterwards = |(call, _, ending): &&(usize, usize, Ending)| {
        *call >= AFTERWARDS && call % AFTERWARDS_EACH == 0 && *ending != Ending::Recorded
    };
    outcome.endings.iter().find(afterwards).is_none()
}

/// Checks that no file of ours lies about under a temporary name.
fn check_no_temporary(outcome: &Outcome) -> Result<(), String> {
    let temporary = outcome.tree.entries().into_iter().find(|(path, _)| path.ends_with(".tmp"));
    temporary.map_or(Ok(()), |(path, _)| Err(format!("{path} was left behind")))
}

/// Checks that what the books say is on disk.
fn check_session(outcome: &Outcome, seen: &Seen) -> Result<(), String> {
    if let Some((_, fault)) = seen.faults.first() {
        return Err(fault.clone());
    }
    for (call, _, ending) in &outcome.endings {
        let state = seen.state(*call);
        let is_right = match ending {
            Ending::Recorded => state == Some(&CallState::Completed),
            Ending::Failed => state == Some(&CallState::Failed),
            Ending::OutputsSkipped => state == Some(&CallState::OutputsSkipped),
            Ending::Unfinished => state.is_some(),
            _ => true,
        };
        if !is_right {
            return Err(format!("call {call} is counted as {ending} and {state:?} on disk"));
        }
    }
    Ok(())
}

/// Checks that nothing else is on disk.
fn check_nobodys(outcome: &Outcome, injection: Injection, seen: &Seen) -> Result<(), String> {
    for (call, _, ending) in outcome.endings.iter().filter(|(.., ending)| !is_kept(*ending)) {
        if let Some(state) = seen.state(*call) {
            return Err(format!("call {call} is counted as {ending} and {state:?} on disk"));
        }
    }
    let mut nobodys = 0;
    for (_, call) in seen.calls.iter().filter(|(number, _)| number.is_none()) {
        // Its line could not be taken back from the index; that, and nothing else, is left of it.
        let is_line =
            matches!(&call.state, CallState::Damaged { reason } if reason == "the folder is missing");
        if !is_line || !injection.for_good {
            return Err(format!("{} is {:?}, and nobody's", call.folder, call.state));
        }
        nobodys += 1;
    }
    // What was written of a line for which there was no room is cut off.
    if !injection.for_good && torn_lines(&outcome.tree) != torn_lines(&outcome.before) {
        return Err("a line of the index is torn".to_owned());
    }
    check_lines(outcome, nobodys)
}

/// Checks that the index has both lines of each call on disk, and those of `nobodys` that could not be taken back.
fn check_lines(outcome: &Outcome, nobodys: usize) -> Result<(), String> {
    let count = |wanted: fn(Ending) -> bool| outcome.endings.iter().filter(|(.., e)| wanted(*e)).count();
    let (kept, unfinished) = (count(is_kept), count(|ending| ending == Ending::Unfinished));
    // Those of the call that was recorded before are not counted here.
    let earlier = index_lines(&outcome.before).len();
    let lines = index_lines(&outcome.tree).len() - earlier;
    let most = 2 * kept + nobodys;
    if lines > most || lines + unfinished < most {
        return Err(format!(
            "{kept} calls are on disk, {unfinished} of them unfinished, {nobodys} gone: the index has {lines} lines"
        ));
    }
    Ok(())
}

/// Checks what a loss of power leaves: what is counted as recorded was kept by syncs that did not fail.
fn check_loss_of_power(
    scenario: &Scenario,
    outcome: &Outcome,
    disk: &SimDisk,
    mirror: &mut Mirror,
) -> Result<(), String> {
    let effects = disk.effects();
    let thoroughness = Thoroughness { every_byte_up_to: 0, random: 2 };
    let states = CrashStates::of(&outcome.before, &effects, Loss::System, thoroughness);
    let mut random = Random::of(seed(), &[scenario.number]);
    let mut known = HashSet::new();
    for choice in states.choices(effects.len(), &mut || random.next()) {
        let state = states.state(effects.len(), &choice);
        if !known.insert(fingerprint(&state)) {
            continue;
        }
        mirror.show(&state);
        let seen = look(scenario, &mirror.path_of(SESSION))?;
        for (call, _, ending) in &outcome.endings {
            let state = seen.state(*call);
            let fault = seen.faults.iter().find(|(number, _)| number == &Some(*call));
            let is_right = match ending {
                Ending::Recorded => state == Some(&CallState::Completed) && fault.is_none(),
                Ending::Failed => state == Some(&CallState::Failed) && fault.is_none(),
                Ending::OutputsSkipped => state == Some(&CallState::OutputsSkipped) && fault.is_none(),
                Ending::Unfinished => true,
                _ => state.is_none_or(|state| !state.is_suspected_crash()),
            };
            if !is_right {
                let fault = fault.map(|(_, fault)| fault);
                return Err(format!(
                    "power is lost, {choice}: call {call} was {ending} and is {state:?}, {fault:?}"
                ));
            }
        }
    }
    Ok(())
}
