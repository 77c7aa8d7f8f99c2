//! Replaying a session: calls in recorded order, objects kept from one call to the next, several at a time.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use callbox_core::{CallState, DumpSource, DumpedCall, Executor, Session};

use crate::dump::{Objects, ReplayOptions, Replayed, replay_from_dump};

/// Makes an executor for each worker.
pub type ExecutorFactory<'a> = dyn Fn() -> Box<dyn Executor> + Sync + 'a;

/// How to replay a session.
#[derive(Clone, Copy, Debug)]
pub struct SequenceOptions {
    /// What to do with each call.
    pub replay: ReplayOptions,
    /// Calls in flight at a time. Calls on one object stay in order, whatever this is.
    pub jobs: NonZeroUsize,
    /// Keeps arguments, results and tensors in what is handed out; a large session does not fit into memory.
    pub keep_values: bool,
}

/// One call after the other, values kept.
impl Default for SequenceOptions {
    fn default() -> SequenceOptions {
        SequenceOptions { replay: ReplayOptions::default(), jobs: NonZeroUsize::MIN, keep_values: true }
    }
}

/// Replays the calls of a session that `select` takes, and hands each to `on_result` with its number in the
/// session (from 1), in that order.
///
/// A selected method needs its object: the constructor, and earlier calls on the object that returned no
/// tensor (`plan`), are replayed for it and not reported.
pub fn replay_sequence(
    source: &dyn DumpSource,
    session: &Session,
    executors: &ExecutorFactory<'_>,
    select: &dyn Fn(&DumpedCall) -> bool,
    options: &SequenceOptions,
    on_result: &mut dyn FnMut(usize, Replayed),
) {
    let mut chains = chains(&session.calls, select);
    if options.jobs == NonZeroUsize::MIN {
        // One worker goes by the session, not object by object: results come one by one, and nothing waits.
        let mut steps: Vec<_> = chains.into_iter().flat_map(|chain| chain.steps).collect();
        steps.sort_by_key(|step| step.place);
        chains = vec![Chain { steps }];
    }
    let order: Vec<usize> = (0..session.calls.len()).filter(|&place| select(&session.calls[place])).collect();
    let next_chain = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..options.jobs.get().min(chains.len()) {
            let (sender, chains, next_chain) = (sender.clone(), &chains, &next_chain);
            scope.spawn(move || {
                let mut executor = executors();
                while let Some(chain) = chains.get(next_chain.fetch_add(1, Ordering::Relaxed)) {
                    replay_chain(source, session, chain, &mut *executor, options, &mut |place, replayed| {
                        // The receiver is gone only when the caller's callback panicked.
                        sender.send((place, replayed)).is_ok()
                    });
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut order = order.iter();
        let mut expected = order.next();
        for (place, replayed) in receiver {
            waiting.insert(place, replayed);
            while let Some(replayed) = expected.and_then(|place| waiting.remove(place)) {
                on_result(expected.map_or(0, |place| place + 1), replayed);
                expected = order.next();
            }
        }
    });
}

/// Calls that have to run one after the other, by their place in the session.
#[derive(Debug, Default)]
struct Chain {
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    place: usize,
    selected: bool,
}

/// Puts the calls on one object into one chain and every other call into its own; drops what no selected call
/// needs.
fn chains(calls: &[DumpedCall], select: &dyn Fn(&DumpedCall) -> bool) -> Vec<Chain> {
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
    for chain in &mut chains {
        let needed = chain.steps.iter().rposition(|step| step.selected).map_or(0, |last| last + 1);
        chain.steps.truncate(needed);
    }
    chains.retain(|chain| !chain.steps.is_empty());
    chains
}

/// Tells whether a call may change the object that later calls use.
fn is_preparation(call: &DumpedCall) -> bool {
    call.self_id.is_some() && call.state == CallState::Completed && call.outputs.tensors == 0
}

fn replay_chain(
    source: &dyn DumpSource,
    session: &Session,
    chain: &Chain,
    executor: &mut dyn Executor,
    options: &SequenceOptions,
    on_result: &mut dyn FnMut(usize, Replayed) -> bool,
) {
    let mut objects = Objects::default();
    for step in &chain.steps {
        let call = &session.calls[step.place];
        let mut replayed = replay_from_dump(source, call, executor, &mut objects, &options.replay);
        if !options.keep_values {
            replayed.forget_values();
        }
        if step.selected && !on_result(step.place, replayed) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use callbox_core::{
        Arguments, CallRecord, Contract, Device, ExecError, FunctionName, Instance, OwnedValue, Value,
    };
    use callbox_testkit::{MemorySource, sample};

    use super::*;
    use crate::verdict::Verdict;

    /// Counts how often `step` was called on an object, and returns the count from `count`.
    #[derive(Debug, Default)]
    struct Counter(i64);

    #[derive(Debug)]
    struct Counters;

    impl Executor for Counters {
        fn device(&self) -> Device {
            Device::Cpu
        }

        fn contract(&self, _: &FunctionName) -> Option<Contract> {
            Some(Contract::default())
        }

        fn call(&mut self, _: &FunctionName, _: &mut Arguments) -> Result<OwnedValue, ExecError> {
            Ok(Value::None)
        }

        fn construct(&mut self, _: &FunctionName, _: &mut Arguments) -> Result<Box<dyn Instance>, ExecError> {
            Ok(Box::new(Counter::default()))
        }
    }

    impl Instance for Counter {
        fn duplicate(&self) -> Box<dyn Instance> {
            Box::new(Counter(self.0))
        }

        fn call(&mut self, method: &str, _: &mut Arguments) -> Result<OwnedValue, ExecError> {
            if method == "step" {
                self.0 += 1;
                return Ok(Value::None);
            }
            Ok(Value::int(self.0))
        }
    }

    fn returned(name: &str, self_id: Option<u64>, result: OwnedValue) -> CallRecord {
        let mut record = sample::record("toy", name);
        record.self_id = self_id;
        let result = result.try_map(&mut |_| Err(())).expect("no tensor in it");
        record.output_metadata.push(("result".to_owned(), result));
        record
    }

    /// Two objects whose calls are interleaved, and functions between them.
    fn session() -> MemorySource {
        let mut source = MemorySource::default();
        for object in [1, 2] {
            source.push(returned("Counter.__init__", Some(object), Value::None), &[]);
        }
        for step in 1..=20 {
            for object in [1, 2] {
                source.push(returned("Counter.step", Some(object), Value::None), &[]);
                source.push(returned("Counter.count", Some(object), Value::int(step)), &[]);
                source.push(returned("function", None, Value::None), &[]);
            }
        }
        source
    }

    fn check(jobs: usize, select: &dyn Fn(&DumpedCall) -> bool) -> Vec<(usize, Verdict)> {
        let source = session();
        let options =
            SequenceOptions { jobs: NonZeroUsize::new(jobs).unwrap(), ..SequenceOptions::default() };
        let mut results = Vec::new();
        let calls = source.calls().unwrap();
        replay_sequence(
            &source,
            &calls,
            &|| Box::new(Counters),
            select,
            &options,
            &mut |number, replayed| {
                results.push((number, replayed.verdict));
            },
        );
        results
    }

    #[test]
    fn any_number_of_jobs_gives_the_same_verdicts_in_the_same_order() {
        for jobs in [1, 2, 7] {
            let results = check(jobs, &|_| true);
            let numbers: Vec<_> = results.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, (1..=122).collect::<Vec<_>>());
            assert!(results.iter().all(|(_, verdict)| *verdict == Verdict::Passed), "{results:?}");
        }
    }

    #[test]
    fn a_selected_method_gets_the_calls_that_prepare_its_object() {
        let results = check(2, &|call| call.function.name() == "Counter.count" && call.call_sequence > 100);
        assert!(!results.is_empty());
        assert!(
            results.iter().all(|(number, verdict)| *number > 100 && *verdict == Verdict::Passed),
            "{results:?}"
        );
    }

    #[test]
    fn nothing_selected_replays_nothing() {
        assert_eq!(check(2, &|_| false), []);
    }
}
