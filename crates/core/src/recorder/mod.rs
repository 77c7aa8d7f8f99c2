//! The recorder: what happens around a call at each level.
//!
//! `begin.rs` has what happens before the call, `pending.rs` what happens after it, `graphs.rs` what captured calls leave
//! for later, `ledger.rs` what is kept for the process. Whatever goes wrong in here is counted and told, and never reaches
//! the application.

mod begin;
mod graphs;
mod inside;
mod ledger;
mod pending;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_details;
#[cfg(test)]
mod tests_of_failures;

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use self::ledger::Ledger;
pub use self::pending::PendingCall;
use crate::budget::SharedUsage;
use crate::callsite::Callsite;
use crate::error::{SinkError, chain};
use crate::event::Event;
use crate::filter::Filter;
use crate::gate::{Consequence, FailurePolicy};
use crate::health::{Books, Ending, FaultKind, Health, lock_soon};
use crate::level::Level;
use crate::limits::Limits;
use crate::live::LiveArguments;
use crate::name::FunctionName;
use crate::per_process::PerProcess;
use crate::ports::{Clock, DumpSink, Host, LogSink, UsageStore};
use crate::process::Process;
use crate::warnings::Warnings;

/// What a recorder does.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How much is recorded.
    pub level: Level,
    /// Which functions, from level 3 on.
    pub filter: Filter,
    /// The most that is dumped.
    pub limits: Limits,
    /// What becomes of later calls when dumping fails.
    pub on_failure: FailurePolicy,
    /// Label and value of each line that the log's header says about the system.
    pub system: Vec<(String, String)>,
    /// Versions of the libraries involved, by name, for the records.
    pub versions: Vec<(String, String)>,
}

/// The adapters that a recorder works with.
#[derive(Clone, Debug)]
pub struct Adapters {
    /// Where the call log goes; `None`: nowhere.
    pub log: Option<Arc<dyn LogSink>>,
    /// Where dumps go; `None`: level 10 is level 5.
    pub dumps: Option<Arc<dyn DumpSink>>,
    /// Where the usage of the limits is counted, together with other processes; `None`: this process counts its own.
    pub usage: Option<Arc<dyn UsageStore>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Tells who records.
    pub host: Arc<dyn Host>,
}

/// Records calls. Cloning gives another handle to the same recorder.
///
/// ```
/// # use callbox_core::{Clock, Host, LogSink, Event, Process, SinkError};
/// # #[derive(Debug)] struct Fixed;
/// # impl Clock for Fixed {
/// #     fn now(&self) -> time::OffsetDateTime { time::OffsetDateTime::UNIX_EPOCH }
/// # }
/// # impl Host for Fixed {
/// #     fn process(&self) -> std::sync::Arc<Process> {
/// #         std::sync::Arc::new(Process { id: 1, host: "node".into(), token: "0".into() })
/// #     }
/// # }
/// # impl LogSink for Fixed {
/// #     fn emit<'a>(&self, _: &'a Event<'a>) -> Result<(), SinkError> { Ok(()) }
/// # }
/// use std::sync::Arc;
///
/// use callbox_core::{Adapters, Callsite, Ending, Level, LiveArguments, Recorder, Settings, Value};
///
/// static DOUBLE: Callsite = Callsite::new(module_path!(), "double", "(x: i64) -> i64");
///
/// let recorder = Recorder::new(
///     Settings { level: Level::Values, ..Settings::default() },
///     Adapters { log: Some(Arc::new(Fixed)), dumps: None, usage: None, clock: Arc::new(Fixed), host: Arc::new(Fixed) },
/// );
///
/// let x = 21;
/// let call = recorder.begin(&DOUBLE, || LiveArguments {
///     positional: vec![Value::int(x)],
///     ..LiveArguments::default()
/// });
/// let (result, call) = call.run(|| x * 2);
/// call.complete(|| Value::int(result).into());
///
/// assert_eq!(recorder.health().count(Ending::Logged), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Tells recorders apart at a call site.
    number: u64,
    settings: Settings,
    adapters: Adapters,
    books: Arc<Books>,
    warnings: Warnings,
    /// Made when the first call is dumped, anew after a fork.
    ledgers: PerProcess<Arc<Process>, Arc<Ledger>>,
    /// What was told and is not told again.
    told: Mutex<HashSet<&'static str>>,
}

impl Recorder {
    /// Builds a recorder and writes the header of its log.
    pub fn new(settings: Settings, adapters: Adapters) -> Recorder {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let inner = Inner {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            settings,
            adapters,
            books: Arc::default(),
            warnings: Warnings::default(),
            ledgers: PerProcess::new(),
            told: Mutex::default(),
        };
        if inner.settings.level > Level::Off {
            inner.emit(|| Event::Started { at: inner.adapters.clock.now(), system: &inner.settings.system });
        }
        Recorder(Arc::new(inner))
    }

    /// Tells whether two handles are to the same recorder.
    pub fn is(&self, other: &Recorder) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the level.
    pub fn level(&self) -> Level {
        self.0.settings.level
    }

    /// Records what comes before a call; the call may run when this returns, whatever happened in here.
    ///
    /// `arguments` is asked for at level 3 and above, and what it gives is dropped before this returns.
    pub fn begin<'v>(
        &self,
        callsite: &Callsite,
        arguments: impl FnOnce() -> LiveArguments<'v>,
    ) -> PendingCall {
        if self.level() == Level::Off {
            return PendingCall::ended();
        }
        let mut arguments = Some(arguments);
        let mut once = || arguments.take().map(|arguments| arguments()).unwrap_or_default();
        begin::begin(&self.0, callsite, &mut once)
    }

    /// Returns the books: what became of the calls so far.
    pub fn health(&self) -> Health {
        self.0.books.health()
    }

    /// Writes a sentence to the log.
    pub fn tell(&self, text: &str) {
        self.0.emit(|| Event::Notice { text });
    }
}

impl Inner {
    /// Sends an event to the log; tells whether it arrived, or nobody asked for it.
    fn emit<'a>(&self, event: impl FnOnce() -> Event<'a>) -> bool {
        let Some(log) = &self.adapters.log else {
            return true;
        };
        let sent = guarded(|| log.emit(&event()).map_err(|error| chain(&error)));
        if let Err(text) = &sent {
            // It cannot be told in the log; the books keep it.
            self.books.fault(FaultKind::Log, text);
        }
        sent.is_ok()
    }

    /// Counts a fault of a call of `function`, and warns.
    fn fault(&self, kind: FaultKind, function: &FunctionName, text: &str) {
        let text = format!("{function}: {text}");
        self.books.fault(kind, &text);
        self.warn(&format!("{kind} failed: {text}"));
    }

    /// Counts a fault of the sink's over a call, warns, and says what follows from it.
    fn sink_fault(&self, kind: FaultKind, function: &FunctionName, error: &SinkError, then: Consequence) {
        let text = format!("{function}: {}", chain(error));
        self.books.fault(kind, &text);
        self.warn(&format!("{kind} failed: {text}; {then}"));
    }

    /// Writes a warning to the log, unless there were too many in the last minute; tells whether it did.
    fn warn(&self, text: &str) -> bool {
        let Ok(now) = guarded(|| Ok(self.adapters.clock.now())) else { return false };
        let Some(held_back) = self.warnings.next(now) else { return false };
        let text = format!("callbox: {text}{held_back}");
        self.emit(|| Event::Notice { text: &text });
        true
    }

    /// Warns of something once.
    fn warn_once(&self, key: &'static str, text: &str) {
        // A lock that somebody holds for long was inherited by a fork, and will be held for ever: then it counts as told.
        let is_told = lock_soon(&self.told).is_none_or(|told| told.contains(key));
        if !is_told
            && self.warn(text)
            && let Some(mut told) = lock_soon(&self.told)
        {
            told.insert(key);
        }
    }

    /// Returns the ledger of the present process.
    fn ledger(&self) -> Arc<Ledger> {
        let process = self.adapters.host.process();
        let Settings { limits, on_failure, .. } = self.settings;
        let make = || Arc::new(Ledger::new(process.clone(), limits, self.shared_usage(&process), on_failure));
        self.ledgers.get(&process, make).clone()
    }

    /// Returns where the usage is counted if other processes count too.
    fn shared_usage(&self, process: &Arc<Process>) -> Option<SharedUsage> {
        let store = self.adapters.usage.clone()?;
        Some(SharedUsage {
            store,
            process: process.clone(),
            host: self.adapters.host.clone(),
            books: self.books.clone(),
        })
    }

    fn end(&self, ending: Ending) {
        self.books.end(ending);
    }

    fn takes_statistics(&self) -> bool {
        self.settings.level >= Level::Statistics
    }
}

/// Runs code that may panic: an adapter's, or the application's own while it describes its values.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = format!("panicked: {}", panic_text(&*panic));
        // Dropping it may panic again.
        std::mem::forget(panic);
        Err(text)
    })
}

/// Names the type of a panic's payload, as far as it can be told.
fn panic_type(panic: &(dyn Any + Send)) -> &'static str {
    match (panic.is::<&str>(), panic.is::<String>()) {
        (true, _) => "&str",
        (false, true) => "String",
        (false, false) => "unknown",
    }
}

/// Reads the message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}
