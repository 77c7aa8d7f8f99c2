//! The state of the driver, and what happens at the door of each of its functions.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::answer::{Answer, Code, NOT_INITIALIZED, code_of, is_sticky};
use crate::capture::Captures;
use crate::context::{self, Contexts};
use crate::emulation::Emulation;
use crate::event::Event;
use crate::graph::Graphs;
use crate::memory::Memory;
use crate::module::Modules;
use crate::queue::{Queue, StreamKey};

/// A handle that the caller holds.
pub(crate) type Handle = usize;

/// Everything there is, behind one lock.
#[derive(Default)]
pub(crate) struct Driver {
    pub(crate) settings: Settings,
    pub(crate) calls: Calls,
    pub(crate) contexts: Contexts,
    pub(crate) memory: Memory,
    pub(crate) streams: BTreeMap<StreamKey, Queue>,
    pub(crate) events: BTreeMap<Handle, Event>,
    pub(crate) captures: Captures,
    pub(crate) graphs: Graphs,
    pub(crate) modules: Modules,
    pub(crate) emulation: Emulation,
    is_initialised: bool,
    last_handle: Handle,
}

/// What the machine is like.
pub(crate) struct Settings {
    pub(crate) device_count: i32,
    /// As `cuDriverGetVersion` gives it: 1000 times the major version and 10 times the minor one.
    pub(crate) version: i32,
    /// Bytes of each device.
    pub(crate) memory_limit: usize,
    /// Whether memory is allocated in the order of a stream.
    pub(crate) has_memory_pools: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { device_count: 1, version: 12_080, memory_limit: 1 << 30, has_memory_pools: true }
    }
}

/// The calls so far, and those that are to fail.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) log: Vec<&'static str>,
    faults: Vec<Fault>,
}

/// A call that is to fail.
struct Fault {
    function: String,
    /// How many calls of the function go before it, and it.
    calls_left: u64,
    code: Code,
}

impl Calls {
    /// Lets the `nth` call of a function from now on fail, once.
    pub(crate) fn inject(&mut self, function: String, nth: u64, code: Code) {
        self.faults.push(Fault { function, calls_left: nth, code });
    }

    /// Notes a call; fails where it is to.
    fn note(&mut self, function: &'static str) -> Answer {
        self.log.push(function);
        let mut answer = Ok(());
        self.faults.retain_mut(|fault| {
            if fault.function == function {
                fault.calls_left = fault.calls_left.saturating_sub(1);
            }
            let strikes = fault.calls_left == 0;
            if strikes {
                answer = Err(fault.code);
            }
            !strikes
        });
        answer
    }
}

impl Driver {
    /// Returns a handle that nothing else has. Handles of streams up to 2 have meanings of their own.
    pub(crate) fn new_handle(&mut self) -> Handle {
        self.last_handle += 0x100;
        self.last_handle
    }

    pub(crate) fn initialise(&mut self) {
        self.is_initialised = true;
    }
}

static DRIVER: Mutex<Option<Driver>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Driver>> {
    DRIVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something with the driver that is no call of it.
pub(crate) fn control<T>(work: impl FnOnce(&mut Driver) -> T) -> T {
    work(lock().get_or_insert_default())
}

/// Forgets everything.
pub(crate) fn reset() {
    *lock() = None;
}

/// Runs a function that needs no initialised driver.
pub(crate) fn call_first(function: &'static str, work: impl FnOnce(&mut Driver) -> Answer) -> Code {
    control(|driver| code_of(driver.calls.note(function).and_then(|()| work(driver))))
}

/// Runs a function that needs no context.
pub(crate) fn call(function: &'static str, work: impl FnOnce(&mut Driver) -> Answer) -> Code {
    call_first(function, |driver| if driver.is_initialised { work(driver) } else { Err(NOT_INITIALIZED) })
}

/// Runs a function on the thread's current context.
///
/// A context that has failed for good answers with that failure; so it does when an injected one is such.
pub(crate) fn call_in_context(
    function: &'static str,
    work: impl FnOnce(&mut Driver, Handle) -> Answer,
) -> Code {
    in_context(function, |driver, context, noted| noted.and_then(|()| work(driver, context)))
}

/// Runs a function that gives something back. In a context that has failed it fails like any other; its caller can do no
/// more, so what it was to give back counts as given.
pub(crate) fn call_to_destroy(
    function: &'static str,
    work: impl FnOnce(&mut Driver, Handle) -> Answer,
) -> Code {
    in_context(function, |driver, context, noted| match noted {
        Err(code) if !is_sticky(code) => Err(code),
        lost_or_not => {
            let done = work(driver, context);
            lost_or_not.and(done)
        }
    })
}

fn in_context(function: &'static str, work: impl FnOnce(&mut Driver, Handle, Answer) -> Answer) -> Code {
    control(|driver| {
        let noted = driver.calls.note(function);
        let answer = context::current(driver).and_then(|context| {
            let noted = noted.and_then(|()| driver.contexts.sticky(context));
            work(driver, context, noted).inspect_err(|code| {
                if is_sticky(*code) {
                    driver.contexts.fail(context, *code);
                }
            })
        });
        code_of(answer)
    })
}
