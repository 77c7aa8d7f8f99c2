//! What streams have been told to do and have not done: nothing runs before somebody waits for it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::answer::{Answer, CAPTURE_IMPLICIT, CAPTURE_INVALIDATED, ILLEGAL_ADDRESS};
use crate::driver::{Driver, Handle};
use crate::launch::Launch;
use crate::stream::LEGACY;
use crate::transfer::Transfer;

/// Names a stream: the default ones have the same handles in every context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamKey {
    pub(crate) context: Handle,
    pub(crate) stream: Handle,
}

/// One stream.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Waits for the legacy default stream, and that one for it.
    pub(crate) is_blocking: bool,
    /// What is captured into a graph instead of being done.
    pub(crate) capture: Option<Handle>,
    waiting: VecDeque<Operation>,
    done: u64,
}

/// How far a stream has to get: behind its first `position` operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) key: StreamKey,
    pub(crate) position: u64,
}

/// Something that a stream does.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Transfer(Transfer),
    Launch(Launch),
    /// Waits for another stream.
    Wait(Mark),
    Free {
        start: usize,
    },
    Graph(Arc<[Operation]>),
}

impl Queue {
    pub(crate) fn new(is_blocking: bool) -> Queue {
        Queue { is_blocking, ..Queue::default() }
    }

    fn issued(&self) -> u64 {
        self.done + self.waiting.len() as u64
    }

    /// Counts what is still to be done.
    pub(crate) fn pending(&self) -> usize {
        self.waiting.len()
    }
}

/// Returns the mark behind all that a stream was told so far.
pub(crate) fn end_of(driver: &Driver, key: StreamKey) -> Mark {
    Mark { key, position: driver.streams.get(&key).map_or(0, Queue::issued) }
}

/// Tells whether a stream has got as far as a mark.
pub(crate) fn is_reached(driver: &Driver, mark: Mark) -> bool {
    driver.streams.get(&mark.key).is_none_or(|queue| queue.done >= mark.position)
}

/// Puts an operation behind the others of a stream, or into the graph that it is captured into.
pub(crate) fn enqueue(driver: &mut Driver, key: StreamKey, operation: Operation) -> Answer {
    if let Some(capture) = driver.streams.get(&key).and_then(|queue| queue.capture) {
        return driver.captures.push(capture, operation);
    }
    for mark in implicit_marks(driver, key)? {
        push(driver, key, Operation::Wait(mark));
    }
    push(driver, key, operation);
    Ok(())
}

fn push(driver: &mut Driver, key: StreamKey, operation: Operation) {
    driver.streams.entry(key).or_default().waiting.push_back(operation);
}

/// What an operation waits for without being told: the legacy default stream and the blocking ones wait for each other.
fn implicit_marks(driver: &mut Driver, key: StreamKey) -> Answer<Vec<Mark>> {
    let legacy = StreamKey { stream: LEGACY, ..key };
    if key != legacy {
        let is_blocking = driver.streams.get(&key).is_some_and(|queue| queue.is_blocking);
        return Ok(is_blocking.then(|| end_of(driver, legacy)).into_iter().collect());
    }
    let blocking = blocking_streams(driver, key.context);
    for other in &blocking {
        if let Some(capture) = driver.streams.get(other).and_then(|queue| queue.capture) {
            driver.captures.invalidate(capture);
            return Err(CAPTURE_IMPLICIT);
        }
    }
    Ok(blocking.into_iter().map(|other| end_of(driver, other)).collect())
}

/// Lists the streams that the legacy default stream of a context waits for.
pub(crate) fn blocking_streams(driver: &Driver, context: Handle) -> Vec<StreamKey> {
    let of_context = driver.streams.iter().filter(|(key, _)| key.context == context && key.stream != LEGACY);
    of_context.filter(|(_, queue)| queue.is_blocking).map(|(key, _)| *key).collect()
}

/// Does all that a stream was told so far, and what that waits for.
pub(crate) fn run_stream(driver: &mut Driver, key: StreamKey) -> Answer {
    if key.stream == LEGACY {
        for other in blocking_streams(driver, key.context) {
            run_to(driver, end_of(driver, other))?;
        }
    }
    run_to(driver, end_of(driver, key))
}

/// Does all that the streams of a context were told so far.
pub(crate) fn run_context(driver: &mut Driver, context: Handle) -> Answer {
    let keys: Vec<_> = driver.streams.keys().filter(|key| key.context == context).copied().collect();
    keys.into_iter().try_for_each(|key| run_to(driver, end_of(driver, key)))
}

/// Does what a stream was told, up to a mark.
///
/// An operation that fails is the end of its context: what was to come after it is not done.
pub(crate) fn run_to(driver: &mut Driver, mark: Mark) -> Answer {
    while !is_reached(driver, mark) {
        let Some(queue) = driver.streams.get_mut(&mark.key) else { break };
        let Some(operation) = queue.waiting.pop_front() else { break };
        queue.done += 1;
        if let Err(code) = execute(driver, &operation) {
            let context = mark.key.context;
            driver.contexts.fail(context, code);
            for (_, queue) in driver.streams.iter_mut().filter(|(key, _)| key.context == context) {
                queue.done += queue.waiting.len() as u64;
                queue.waiting.clear();
            }
            return Err(code);
        }
    }
    Ok(())
}

fn execute(driver: &mut Driver, operation: &Operation) -> Answer {
    match operation {
        // The memory was there when the stream was told; that it is gone now is an illegal address.
        Operation::Transfer(transfer) => transfer.run(&driver.memory).map_err(|_| ILLEGAL_ADDRESS),
        Operation::Launch(launch) => launch.run(&driver.emulation),
        Operation::Wait(mark) => run_to(driver, *mark),
        Operation::Free { start } => driver.memory.release(*start).map_err(|_| ILLEGAL_ADDRESS),
        Operation::Graph(operations) => operations.iter().try_for_each(|one| execute(driver, one)),
    }
}

/// Fails if what a stream is captured into is invalid already.
pub(crate) fn check_capture(driver: &Driver, key: StreamKey) -> Answer {
    let capture = driver.streams.get(&key).and_then(|queue| queue.capture);
    if capture.is_some_and(|capture| driver.captures.is_invalid(capture)) {
        Err(CAPTURE_INVALIDATED)
    } else {
        Ok(())
    }
}
