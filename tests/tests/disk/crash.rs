//! Every state that a crash may leave: after every prefix of what a recorder does, with every loss of what was not
//! synced.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use callbox_core::{CallState, Ending};
use callbox_sink_fs::Durability;
use callbox_testkit::sim::{CrashStates, Effect, Loss, Node, SimDisk, Thoroughness, Tree};
use callbox_tests::{Random, soaks};

use super::clock::HandClock;
use super::mirror::Mirror;
use super::scenario::{INDEX, Moment, OTHERS, Processes, Run, SESSION, Scenario, Way};
use super::seed::{only, replay, seed, spread};
use super::verdict::{self, Seen, check, check_grown, index_lines};

/// Names one state: number of the scenario, of the crash, of the effects before it, and of the choice of what is lost.
const STATE: &str = "CALLBOX_STATE";

/// The call that is recorded after the crash.
const NEXT: usize = OTHERS + 10;

/// What has to hold after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// Everything that the durability promises.
    All,
    /// Nothing that was recorded; the session can be read and goes on.
    GoesOn,
}

/// The crashes that a scenario is tried with. A loss of power includes the process's.
fn crashes(durability: Durability) -> &'static [(Loss, Promise)] {
    match durability {
        Durability::Process => &[(Loss::Process, Promise::All), (Loss::System, Promise::GoesOn)],
        Durability::System => &[(Loss::System, Promise::All)],
    }
}

/// What was gone through.
#[derive(Debug, Default)]
struct Figures {
    states: AtomicU64,
    distinct: AtomicU64,
}

/// A scenario that was run, with one kind of crash.
struct Crash<'a> {
    scenario: &'a Scenario,
    run: &'a Run,
    effects: &'a [Effect],
    states: CrashStates<'a>,
    /// The number of the scenario and that of the crash.
    place: [usize; 2],
    promise: Promise,
    mirror: &'a mut Mirror,
    /// States that were checked, each by what is on the disk and how many moments were past.
    known: HashSet<(u64, usize)>,
    /// What another recorder found and went on with: it sees names, and the index.
    known_to_next: HashSet<u64>,
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the time is one of the figures")]
fn every_state_that_a_crash_leaves_keeps_the_promises() {
    let start = Instant::now();
    let only = only(STATE);
    let scenarios = match &only {
        Some(place) => vec![Scenario::all()[place[0]]],
        None if soaks() => [Scenario::some(310), Scenario::large(10)].concat(),
        None => Scenario::some(64),
    };
    let figures = Figures::default();
    let outcome = spread(&scenarios, |scenario| check_scenario(scenario, only.as_deref(), &figures));
    let (states, distinct) = (figures.states.into_inner(), figures.distinct.into_inner());
    println!(
        "figures: crash states: {} scenarios, {states} states, {distinct} of them distinct, {} violations, {:.1} s, seed {}",
        scenarios.len(),
        u8::from(outcome.is_err()),
        start.elapsed().as_secs_f64(),
        seed()
    );
    outcome.unwrap();
    let (least_scenarios, least_states) = if soaks() { (200, 1_000_000) } else { (60, 100_000) };
    let is_whole = scenarios.len() >= least_scenarios && states >= least_states;
    assert!(is_whole || only.is_some(), "{} scenarios and {states} states are too few", scenarios.len());
}

fn thoroughness(scenario: &Scenario, promise: Promise) -> Thoroughness {
    // Lines have no more than 2 KiB here. In one scenario of thirteen each is cut at every byte, in one of five if the
    // large sizes are asked for.
    let is_one = scenario.bytes == 1 && (soaks() || scenario.format == "pt" && !scenario.is_capped);
    let is_thorough = promise == Promise::All && is_one;
    Thoroughness {
        every_byte_up_to: if is_thorough { 2048 } else { 0 },
        random: if soaks() { 12 } else { 2 },
    }
}

/// Tells whether the states after a prefix are gone through. Where little is promised, there are the most states.
fn is_tried(promise: Promise, scenario: &Scenario, prefix: usize) -> bool {
    let every = if soaks() { 4 } else { 16 };
    promise == Promise::All || (prefix + scenario.number).is_multiple_of(every)
}

fn check_scenario(scenario: &Scenario, only: Option<&[usize]>, figures: &Figures) -> Result<(), String> {
    let before = scenario.before();
    let disk = SimDisk::of(before.clone());
    let (run, _) = Processes::of(scenario, &disk, &HandClock::default(), None).run();
    for (call, answer, ending) in &run.calls {
        assert_eq!(*answer, scenario.expected_answer(*call), "call {call} of {scenario:?}");
        assert_eq!(*ending, scenario.expected_ending(*call), "call {call} of {scenario:?}");
    }
    let effects = disk.effects();
    check_lines_are_written_at_once(&effects)?;
    let mut mirror = Mirror::new();
    for (number, (loss, promise)) in crashes(scenario.durability).iter().enumerate() {
        let mut crash = Crash {
            scenario,
            run: &run,
            effects: &effects,
            states: CrashStates::of(&before, &effects, *loss, thoroughness(scenario, *promise)),
            place: [scenario.number, number],
            promise: *promise,
            mirror: &mut mirror,
            known: HashSet::new(),
            known_to_next: HashSet::new(),
        };
        let mut prefixes = (0..=effects.len()).filter(|prefix| is_tried(*promise, scenario, *prefix));
        prefixes.try_for_each(|prefix| crash.check_prefix(prefix, only, figures))?;
    }
    if only.is_some() {
        println!("the state lies in {}", mirror.keep().display());
    }
    Ok(())
}

/// Checks that each line, with a newline that closes another's before it, is one write: several processes' lines
/// would mix otherwise.
fn check_lines_are_written_at_once(effects: &[Effect]) -> Result<(), String> {
    let of_lines: HashSet<Node> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Made { name, node, .. } if name.ends_with(".jsonl") => Some(*node),
            _ => None,
        })
        .collect();
    for effect in effects {
        if let Effect::Written { node, bytes, .. } = effect
            && of_lines.contains(node)
            && !(bytes.trim_ascii_start().starts_with(b"{") && bytes.ends_with(b"}\n"))
        {
            return Err(format!("no whole line: {}", shortened(effect)));
        }
    }
    Ok(())
}

impl Crash<'_> {
    /// Checks the states after a prefix of the effects.
    fn check_prefix(
        &mut self,
        prefix: usize,
        only: Option<&[usize]>,
        figures: &Figures,
    ) -> Result<(), String> {
        let [scenario, crash] = self.place;
        let mut random = Random::of(seed(), &[scenario, crash, prefix]);
        let past = self.past(prefix).count();
        for (number, choice) in self.states.choices(prefix, &mut || random.next()).iter().enumerate() {
            let place = [scenario, crash, prefix, number];
            if only.is_some_and(|only| only != place) {
                continue;
            }
            let state = self.states.state(prefix, choice);
            figures.states.fetch_add(1, Ordering::Relaxed);
            if !self.known.insert((fingerprint(&state), past)) {
                continue;
            }
            figures.distinct.fetch_add(1, Ordering::Relaxed);
            self.check(&state, prefix).map_err(|fault| {
                format!(
                    "{fault}\n{:?}\nafter {prefix} of {} effects, then {:?}: {choice}\nagain with: {}",
                    self.scenario,
                    self.effects.len(),
                    self.effects.get(prefix).map(shortened),
                    replay(STATE, &place)
                )
            })?;
        }
        Ok(())
    }

    /// Returns the moments before the crash.
    fn past(&self, prefix: usize) -> impl Iterator<Item = (Moment, usize)> {
        let past = self.run.moments.iter().filter(move |(.., effects)| *effects <= prefix);
        past.map(|(moment, call, _)| (*moment, *call))
    }

    fn check(&mut self, state: &Tree, prefix: usize) -> Result<(), String> {
        self.mirror.show(state);
        let folder = self.mirror.path_of(SESSION);
        let seen = match self.promise {
            Promise::All => {
                let seen = check(self.scenario, &folder)?;
                self.check_calls(&seen, prefix)?;
                self.check_counted(state, &seen)?;
                Some(seen)
            }
            Promise::GoesOn => {
                verdict::read(&folder)?;
                None
            }
        };
        if self.known_to_next.insert(fingerprint_for_recorders(state)) {
            self.check_next_recorder(state, seen.as_ref())?;
        }
        Ok(())
    }

    /// Checks that what the application went past is on disk.
    fn check_calls(&self, seen: &Seen, prefix: usize) -> Result<(), String> {
        for (moment, call) in self.past(prefix) {
            if self.scenario.expected_ending(call) == Ending::OverCount {
                continue;
            }
            let state =
                seen.state(call).ok_or_else(|| format!("{moment:?} of call {call}: it has no record"))?;
            let expected = match self.scenario.way_of(call) {
                Way::Returns => CallState::Completed,
                Way::ReturnsAnError | Way::Panics => CallState::Failed,
            };
            if moment == Moment::Over && *state != expected {
                return Err(format!("call {call} is over and {}", state.name()));
            }
        }
        let over = self.past(prefix).filter(|(moment, _)| *moment == Moment::Over).count();
        if over == self.run.calls.len() && !seen.disagreements.is_empty() {
            return Err(format!("all calls are over, and: {}", seen.disagreements.join("; ")));
        }
        Ok(())
    }

    /// Checks that what is on disk is counted, where processes share their limits: with a limit of as many calls as there
    /// are, another recorder takes none.
    fn check_counted(&self, state: &Tree, seen: &Seen) -> Result<(), String> {
        // What was recorded before is another's, who did not share.
        let kept =
            seen.calls.iter().filter(|(number, _)| number.is_some_and(|number| number < OTHERS)).count();
        if !self.scenario.shares_limits() || kept == 0 {
            return Ok(());
        }
        let full = Scenario { most_calls: Some(kept), way: Way::Returns, ..*self.scenario };
        let recorder = full.recorder(&SimDisk::of(state.clone()), 98, &HandClock::default(), None);
        match full.call(&recorder, NEXT, || {}) {
            (_, Ending::OverCount) => Ok(()),
            (_, ending) => {
                Err(format!("{kept} calls are there, as many as allowed, and one more is {ending}"))
            }
        }
    }

    /// Checks that another recorder goes on with the session, and that this costs nothing of it.
    fn check_next_recorder(&mut self, state: &Tree, seen: Option<&Seen>) -> Result<(), String> {
        let others = self.scenario.others();
        let disk = SimDisk::of(state.clone());
        let recorder = others.recorder(&disk, 99, &HandClock::default(), None);
        let (_, ending) = others.call(&recorder, NEXT, || {});
        if ending != Ending::Recorded {
            return Err(format!("the next recorder's call is {ending}: {:?}", recorder.health().losses()));
        }
        let after = disk.tree();
        check_grown(state, &after)?;
        let (lines, whole) = (index_lines(&after), index_lines(state));
        if !lines.starts_with(&whole) || lines.len() != whole.len() + 2 {
            return Err(format!("{} whole lines became {} by two more", whole.len(), lines.len()));
        }
        self.mirror.show(&after);
        let folder = self.mirror.path_of(SESSION);
        let Some(seen) = seen else {
            let (_, calls) = verdict::read(&folder)?;
            let last = calls.iter().rfind(|call| call.state == CallState::Completed);
            return last.map(|_| ()).ok_or_else(|| "the next recorder's call is not completed".to_owned());
        };
        let now = check(self.scenario, &folder)?;
        if now.state(NEXT) != Some(&CallState::Completed) {
            return Err(format!("the next recorder's call is {:?}", now.state(NEXT)));
        }
        for (number, call) in &seen.calls {
            let mut same = now.calls.iter().filter(|(_, other)| other.folder == call.folder);
            let same = same.next().map(|(number, call)| (number, call.state.name()));
            if same != Some((number, call.state.name())) {
                return Err(format!("{} was {} and is {same:?}", call.folder, call.state.name()));
            }
        }
        Ok(())
    }
}

pub(crate) fn fingerprint(tree: &Tree) -> u64 {
    let mut hasher = DefaultHasher::new();
    tree.entries().hash(&mut hasher);
    hasher.finish()
}

/// As [`fingerprint`], without the contents of files that no other recorder opens.
fn fingerprint_for_recorders(tree: &Tree) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (path, bytes) in tree.entries() {
        (bytes.is_some(), bytes.filter(|_| path == INDEX), path).hash(&mut hasher);
    }
    hasher.finish()
}

/// Leaves out the bytes.
fn shortened(effect: &Effect) -> String {
    match effect {
        Effect::Written { node, offset, bytes } => {
            format!("{} bytes written to {node} at {offset}", bytes.len())
        }
        other => format!("{other:?}"),
    }
}
