use std::thread;

use callbox_core::{Event, FunctionName, LiveArguments, LiveResult, LogSink, RecordedError, Value};
use time::OffsetDateTime;

/// Threads that write at the same time.
const THREADS: usize = 8;
/// Rounds of events of each.
const ROUNDS: usize = 50;

/// A fresh log, and a look behind it.
pub struct LogCase {
    /// The log.
    pub sink: Box<dyn LogSink>,
    /// Returns all text that it has.
    pub text: Box<dyn Fn() -> String>,
}

/// Shows the log.
impl std::fmt::Debug for LogCase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogCase").field("sink", &self.sink).finish_non_exhaustive()
    }
}

/// Checks what every log must do; `make` gives a fresh one each time.
///
/// # Panics
///
/// Where the log breaks a promise of its port.
pub fn log_sink(make: &dyn Fn() -> LogCase) {
    every_event_is_there_when_it_was_taken(&make());
    events_of_many_threads_stay_whole(make);
}

/// Checks that a log that cannot be written to says so for every event, without a panic.
///
/// # Panics
///
/// Where it does not.
pub fn broken_log_sink(sink: &dyn LogSink) {
    for_each_event("broken", &mut |event| {
        let answer = sink.emit(event);
        assert!(answer.is_err(), "{event:?} went nowhere");
    });
}

/// Gives one event of each kind; `name` is in all of them that show a text.
fn for_each_event(name: &str, take: &mut dyn FnMut(&Event<'_>)) {
    let at = OffsetDateTime::UNIX_EPOCH;
    let function = &FunctionName::new("module", name);
    let arguments = LiveArguments {
        positional: (0..20).map(Value::int).collect(),
        keyword: vec![("name", Value::text(name))],
        self_id: None,
    };
    let result = LiveResult::from(Value::tuple(vec![Value::text(name), Value::None]));
    let [kind, type_name, text] = ["error", "Error", name].map(str::to_owned);
    let error = RecordedError { kind, type_name, text };
    let statistics = true;
    take(&Event::Started { at, system: &[("version".to_owned(), name.to_owned())] });
    take(&Event::CallNamed { at, function });
    take(&Event::CallStarted { at, function, arguments: &arguments, statistics });
    take(&Event::CallReturned { result: &result, statistics });
    take(&Event::CallFailed { error: &error });
    take(&Event::InputsDumped { location: name, bytes: 1, count: 2, max_count: 3, is_deferred: false });
    take(&Event::OutputsDumped { location: name, bytes: 1, total_bytes: 2, is_deferred: true });
    take(&Event::Notice { text: name });
}

fn every_event_is_there_when_it_was_taken(case: &LogCase) {
    let mut before = (case.text)();
    for_each_event("name", &mut |event| {
        case.sink.emit(event).expect("the event is taken");
        let text = (case.text)();
        let added = text.strip_prefix(&before).expect("what was there stays");
        assert!(added.contains("name"), "{event:?} gave {added:?}");
        before = text;
    });
}

fn events_of_many_threads_stay_whole(make: &dyn Fn() -> LogCase) {
    let name = |thread: usize| format!("thread_{thread}");
    let case = make();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (sink, name) = (&*case.sink, name(thread));
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    for_each_event(&name, &mut |event| sink.emit(event).expect("the event is taken"));
                }
            });
        }
    });
    let mut threads: Vec<_> =
        (0..THREADS).map(|thread| texts_alone(make, &name(thread)).into_iter().cycle().peekable()).collect();
    let text = (case.text)();
    let mut rest = text.as_str();
    let mut events = 0;
    while !rest.is_empty() {
        let next = threads.iter_mut().find_map(|texts| {
            let behind = rest.strip_prefix(texts.peek()?.as_str())?;
            texts.next();
            Some(behind)
        });
        rest = next.unwrap_or_else(|| panic!("no whole event, or not the next of its thread: {rest:.200}"));
        events += 1;
    }
    let kinds = texts_alone(make, "name").len();
    assert_eq!(events, THREADS * ROUNDS * kinds, "each event is there once");
}

/// Returns the text of each event when nothing else is written.
fn texts_alone(make: &dyn Fn() -> LogCase, name: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for_each_event(name, &mut |event| {
        let case = make();
        case.sink.emit(event).expect("the event is taken");
        texts.push((case.text)());
    });
    texts
}
