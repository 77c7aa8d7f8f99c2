//! Replaying a session: calls in recorded order, objects kept from one call to the next, several at a time.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use callbox_core::{DumpSource, DumpedCall, Executor, Session};

use crate::chain::{self, Chain, Runner};
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
    let mut chains = chain::chains(&session.calls, select);
    if options.jobs == NonZeroUsize::MIN {
        // One worker goes by the session, not object by object: results come one by one, and nothing waits.
        chains = vec![chain::joined(chains)];
    }
    let runners = || -> Box<Runner<'_, Replayed>> {
        let mut executor = executors();
        Box::new(move |chain, emit| {
            replay_chain(
                source,
                session,
                chain,
                &mut *executor,
                &options.replay,
                &mut |place, mut replayed| {
                    if !options.keep_values {
                        replayed.forget_values();
                    }
                    emit(place, replayed)
                },
            );
        })
    };
    let mut on_result = |place, replayed| on_result(place + 1, replayed);
    chain::run_chains(&chains, options.jobs, &runners, BTreeMap::new(), &mut |_, _| {}, &mut on_result);
}

/// Replays the calls of a chain in this process, in their order, and hands on the selected ones with their places
/// in the session; ends early when `emit` says that nobody listens.
pub fn replay_chain(
    source: &dyn DumpSource,
    session: &Session,
    chain: &Chain,
    executor: &mut dyn Executor,
    options: &ReplayOptions,
    emit: &mut dyn FnMut(usize, Replayed) -> bool,
) {
    let mut objects = Objects::default();
    for step in &chain.steps {
        let call = &session.calls[step.place];
        let replayed = replay_from_dump(source, call, executor, &mut objects, options);
        if step.selected && !emit(step.place, replayed) {
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
