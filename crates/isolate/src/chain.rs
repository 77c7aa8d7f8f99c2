//! Replaying a chain of calls in worker processes, whatever the calls do to these.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::process::Command;

use callbox_core::{DumpSource, DumpedCall, Session, planted};
use callbox_replay::{CallReport, Chain, Death, ReplayOptions, Step, Verdict, is_preparation};

use crate::death;
use crate::limits::Limits;
use crate::process::{self, Event, Worker};
use crate::wire::{self, Message, Request};

/// After so many deaths the rest of a chain is not tried: each costs the calls before it once more.
const MOST_DEATHS: usize = 10;

/// How workers are started, and what they may take.
#[derive(Clone, Copy)]
pub struct Isolation<'a> {
    /// Makes the command of a worker: as a rule this program again, which then calls [`serve`](crate::serve).
    pub command: &'a (dyn Fn() -> Command + Sync),
    /// What each worker may take.
    pub limits: Limits,
}

/// Shows the limits.
impl fmt::Debug for Isolation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Isolation").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Leaves to chains what an earlier run has no report on.
///
/// The calls that have one are run again where a later call needs what they do to its object.
pub fn continue_chains(chains: Vec<Chain>, earlier: &BTreeMap<usize, CallReport>) -> Vec<Chain> {
    let left = |mut chain: Chain| {
        for step in &mut chain.steps {
            step.selected &= !earlier.contains_key(&step.place);
        }
        chain.trim();
        chain
    };
    chains.into_iter().map(left).filter(|chain| !chain.steps.is_empty()).collect()
}

/// Replays the calls of a chain in a worker process of their own, and hands on the selected ones' reports with their
/// places; ends early when `emit` says that nobody listens.
///
/// A call that ends its process is reported so, and the calls behind it go on in a new process, in which those
/// before it are run again and it is not: as after an exception, the object is as it was before. Where the call was
/// there for what it does to the object (a constructor, `plan`), the object is lost, and what follows on it is
/// skipped up to the next constructor. `earlier` has the deaths that an earlier run reported.
pub fn replay_chain_isolated(
    source: &dyn DumpSource,
    session: &Session,
    chain: &Chain,
    isolation: &Isolation<'_>,
    options: &ReplayOptions,
    earlier: &BTreeMap<usize, Death>,
    emit: &mut dyn FnMut(usize, CallReport) -> bool,
) {
    let mut rest = Rest { session, steps: chain.steps.clone(), lost: Vec::new(), deaths: 0 };
    for step in &chain.steps {
        if let Some(death) = earlier.get(&step.place) {
            rest.bury(step.place, death);
        }
    }
    loop {
        for (place, reason) in rest.lost.drain(..) {
            let report = CallReport::without_run(&session.calls[place], Verdict::Skipped { reason });
            if !emit(place, report) {
                return;
            }
        }
        rest.trim();
        if rest.steps.is_empty() {
            return;
        }
        match attempt(&mut rest, isolation, options, emit) {
            Attempt::Done | Attempt::Unheard => return,
            Attempt::Broken(reason) => return rest.give_up(&reason, emit),
            Attempt::Died { step, death, printed } => {
                let call = &session.calls[step.place];
                let report = || CallReport::of_death(source, call, death.clone(), printed);
                if step.selected && !emit(step.place, report()) {
                    return;
                }
                rest.bury(step.place, &death);
            }
        }
    }
}

/// What is left of a chain.
struct Rest<'a> {
    session: &'a Session,
    /// Calls to run; those that were reported are not selected any more.
    steps: Vec<Step>,
    /// Selected calls that have lost their object, and the reason.
    lost: Vec<(usize, String)>,
    deaths: usize,
}

impl Rest<'_> {
    fn call(&self, place: usize) -> &DumpedCall {
        &self.session.calls[place]
    }

    fn trim(&mut self) {
        let mut chain = Chain { steps: std::mem::take(&mut self.steps) };
        chain.trim();
        self.steps = chain.steps;
    }

    /// Takes a call out that died, and those that cannot be run without it.
    fn bury(&mut self, place: usize, death: &Death) {
        self.steps.retain(|step| step.place != place);
        self.deaths += 1;
        let name = self.call(place).function.name();
        if self.deaths >= MOST_DEATHS {
            let reason = format!("its object was lost: {MOST_DEATHS} of its calls ended their process");
            self.lose(0, usize::MAX, &reason);
        } else if is_preparation(self.call(place)) {
            let reason = format!("its object was lost: {name}: {death}");
            let mut later = self.steps.iter().map(|step| step.place).filter(|later| *later > place);
            let next_object = later.find(|later| is_constructor(self.call(*later)));
            self.lose(place, next_object.unwrap_or(usize::MAX), &reason);
        }
    }

    /// Takes out the calls from one place up to another.
    fn lose(&mut self, from: usize, to: usize, reason: &str) {
        let is_lost = |step: &&Step| (from..to).contains(&step.place);
        let selected = self.steps.iter().filter(is_lost).filter(|step| step.selected);
        self.lost.extend(selected.map(|step| (step.place, reason.to_owned())));
        self.steps.retain(|step| !is_lost(&step));
    }

    /// Says of everything that is left that nothing could be tried.
    fn give_up(&self, reason: &str, emit: &mut dyn FnMut(usize, CallReport) -> bool) {
        for step in self.steps.iter().filter(|step| step.selected) {
            let verdict = Verdict::Skipped { reason: reason.to_owned() };
            let mut report = CallReport::without_run(self.call(step.place), verdict);
            report.is_untried = true;
            if !emit(step.place, report) {
                return;
            }
        }
    }
}

fn is_constructor(call: &DumpedCall) -> bool {
    call.function.class_and_method().is_some_and(|(_, method)| method == "__init__")
}

/// How one worker came out.
enum Attempt {
    /// Every call ended.
    Done,
    /// Nobody wants to know more.
    Unheard,
    /// The worker ran nothing, or nothing more, and no call is to blame.
    Broken(String),
    /// A call ended the process.
    Died { step: Step, death: Death, printed: String },
}

/// Runs what is left in one worker.
///
/// A report is believed when the worker goes on: a call that wrecks its process may do so an instant after it
/// has returned, when its objects are dropped, say.
fn attempt(
    rest: &mut Rest<'_>,
    isolation: &Isolation<'_>,
    options: &ReplayOptions,
    emit: &mut dyn FnMut(usize, CallReport) -> bool,
) -> Attempt {
    let limit = isolation.limits.time;
    let started = request(rest, isolation, options)
        .and_then(|request| Worker::start((isolation.command)(), request))
        .map_err(|error| Attempt::Broken(format!("its process could not be started: {error}")));
    let mut worker = match started {
        Ok(worker) => worker,
        Err(broken) => return broken,
    };
    let mut deadline = process::deadline_in(limit);
    let mut last = None;
    let mut report: Option<Box<wire::Report>> = None;
    loop {
        let is_late = match worker.next(deadline) {
            // What is no message was written by a call that found the pipe.
            Event::Line(line) => match serde_json::from_slice(&line) {
                Ok(Message::End(ended)) => {
                    report = ended;
                    deadline = process::deadline_in(limit);
                    continue;
                }
                Ok(Message::Begin(index)) => {
                    if !confirm(rest, last, report.take(), emit) {
                        return Attempt::Unheard;
                    }
                    last = Some(index);
                    deadline = process::deadline_in(limit);
                    continue;
                }
                Ok(Message::Done) => {
                    return if confirm(rest, last, report, emit) { Attempt::Done } else { Attempt::Unheard };
                }
                Ok(Message::Broken(reason)) => return Attempt::Broken(reason),
                Err(_) => continue,
            },
            Event::Ended => false,
            Event::Late => true,
        };
        return ended(rest, worker, last, is_late.then_some(limit).flatten());
    }
}

/// Spells what a worker has to do.
fn request(rest: &Rest<'_>, isolation: &Isolation<'_>, options: &ReplayOptions) -> io::Result<Vec<u8>> {
    let step = |step: &Step| wire::Step::new(step.place, step.selected, rest.call(step.place));
    let steps = rest.steps.iter().map(step).collect();
    let mut line = serde_json::to_vec(&Request::new(isolation.limits.memory, options, steps))?;
    line.push(b'\n');
    Ok(line)
}

/// Hands on the report of a call that is over.
fn confirm(
    rest: &mut Rest<'_>,
    last: Option<usize>,
    report: Option<Box<wire::Report>>,
    emit: &mut dyn FnMut(usize, CallReport) -> bool,
) -> bool {
    let Some(step) = last.and_then(|index| rest.steps.get_mut(index)).filter(|step| step.selected) else {
        return true;
    };
    step.selected = false;
    let place = step.place;
    let call = rest.call(place);
    let report = report.ok_or_else(|| "it is missing".to_owned()).and_then(|report| report.on(call));
    let report = report.unwrap_or_else(|error| {
        let error = format!("the report of its process cannot be read: {error}");
        CallReport::without_run(call, Verdict::Failed { error })
    });
    emit(place, report)
}

/// Says what the end of a worker means that had not done everything; `limit` is the one that it has passed.
fn ended(
    rest: &Rest<'_>,
    worker: Worker,
    last: Option<usize>,
    limit: Option<std::time::Duration>,
) -> Attempt {
    let end = match worker.end() {
        Ok(end) => end,
        Err(error) => return Attempt::Broken(format!("its process could not be ended: {error}")),
    };
    let death = limit.map_or_else(|| death::of(end.status, &end.heard), Death::TimedOut);
    let printed = end.printed();
    let next = usize::from(planted::bug("next_call_is_charged"));
    match last.and_then(|index| rest.steps.get(index + next)) {
        Some(step) => Attempt::Died { step: *step, death, printed },
        None => {
            // Behind a panic's message Rust says how to learn more of it.
            let last = printed.lines().rfind(|line| !line.starts_with("note: "));
            let printed = last.map_or(String::new(), |line| format!(": {line}"));
            Attempt::Broken(format!("its process ended before the call: {death}{printed}"))
        }
    }
}
