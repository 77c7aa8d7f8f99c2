//! Which calls have to run one after the other, and running several such chains at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use callbox_core::{CallState, DumpedCall};

/// Calls that have to run one after the other: those on one object, or one call alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The calls, in the session's order.
    pub steps: Vec<Step>,
}

/// One call of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Place of the call in the session, from 0.
    pub place: usize,
    /// The call is reported; otherwise it is run for what it does to the chain's object.
    pub selected: bool,
}

impl Chain {
    /// Drops the steps behind the last one that is selected: nobody needs what they do.
    pub fn trim(&mut self) {
        let needed = self.steps.iter().rposition(|step| step.selected).map_or(0, |last| last + 1);
        self.steps.truncate(needed);
    }
}

/// Puts the calls on one object into one chain and every other call into its own; drops what no selected call
/// needs.
///
/// A selected method needs its object: the constructor, and earlier calls on the object that returned no tensor
/// (`plan`), are steps that are not selected.
pub fn chains(calls: &[DumpedCall], select: &dyn Fn(&DumpedCall) -> bool) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::new();
    let mut of_object = HashMap::new();
    for (place, call) in calls.iter().enumerate() {
        let selected = select(call);
        if !selected && !is_preparation(call) {
            continue;
        }
        let chain = match call.self_id {
            Some(self_id) => *of_object.entry((&call.process, self_id)).or_insert_with(|| {
                chains.push(Chain::default());
                chains.len() - 1
            }),
            None => {
                chains.push(Chain::default());
                chains.len() - 1
            }
        };
        chains[chain].steps.push(Step { place, selected });
    }
    chains.iter_mut().for_each(Chain::trim);
    chains.retain(|chain| !chain.steps.is_empty());
    chains
}

/// Makes one chain of several, in the session's order.
pub fn joined(chains: Vec<Chain>) -> Chain {
    let mut steps: Vec<_> = chains.into_iter().flat_map(|chain| chain.steps).collect();
    steps.sort_by_key(|step| step.place);
    Chain { steps }
}

/// Tells whether a call is there for what it does to the object that later calls use, as far as its record tells:
/// constructors and `plan` return no tensor.
pub fn is_preparation(call: &DumpedCall) -> bool {
    call.self_id.is_some() && call.state == CallState::Completed && call.outputs.tensors == 0
}

/// Runs a chain, and hands each selected step's result on with its place; ends early when that gives `false`.
pub type Runner<'a, R> = dyn FnMut(&Chain, &mut dyn FnMut(usize, R) -> bool) + 'a;

/// Runs chains, up to `jobs` at a time, each thread with a runner of its own; hands every result to `on_result`
/// in the order of places.
///
/// Results of an `earlier` run take their places among those of this one. `on_end` hears of each result of this
/// run as soon as it is there, in whatever order.
pub fn run_chains<'a, R: Send>(
    chains: &[Chain],
    jobs: NonZeroUsize,
    runners: &(dyn Fn() -> Box<Runner<'a, R>> + Sync),
    earlier: BTreeMap<usize, R>,
    on_end: &mut dyn FnMut(usize, &R),
    on_result: &mut dyn FnMut(usize, R),
) {
    let selected = chains.iter().flat_map(|chain| &chain.steps).filter(|step| step.selected);
    let mut waiting = earlier;
    let order: BTreeSet<usize> = selected.map(|step| step.place).chain(waiting.keys().copied()).collect();
    let mut order = order.into_iter().peekable();
    let mut hand_out = |waiting: &mut BTreeMap<usize, R>| {
        while let Some((place, result)) = order.peek().and_then(|place| waiting.remove_entry(place)) {
            order.next();
            on_result(place, result);
        }
    };
    hand_out(&mut waiting);
    let next_chain = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(chains.len()) {
            let (sender, next_chain) = (sender.clone(), &next_chain);
            scope.spawn(move || {
                let mut run = runners();
                while let Some(chain) = chains.get(next_chain.fetch_add(1, Ordering::Relaxed)) {
                    // The receiver is gone only when the caller's callback panicked.
                    run(chain, &mut |place, result| sender.send((place, result)).is_ok());
                }
            });
        }
        drop(sender);
        for (place, result) in receiver {
            on_end(place, &result);
            waiting.insert(place, result);
            hand_out(&mut waiting);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_an_earlier_run_take_their_places_and_are_not_told_as_new() {
        let chains = [1, 3].map(|place| Chain { steps: vec![Step { place, selected: true }] });
        let (mut told, mut results) = (Vec::new(), Vec::new());
        let runners = || -> Box<Runner<'_, &str>> {
            Box::new(|chain, emit| {
                emit(chain.steps[0].place, "new");
            })
        };
        let earlier = BTreeMap::from([(0, "old"), (2, "old"), (4, "old")]);
        run_chains(
            &chains,
            NonZeroUsize::MIN,
            &runners,
            earlier,
            &mut |place, _| told.push(place),
            &mut |place, result| results.push((place, result)),
        );
        assert_eq!(told, [1, 3]);
        assert_eq!(results, [(0, "old"), (1, "new"), (2, "old"), (3, "new"), (4, "old")]);
    }
}
