//! A recorder whose log stays in memory.

use std::sync::{Arc, Mutex, PoisonError};

use callbox_core::{
    Adapters, Clock, Event, Health, Host, Level, LiveValue, LogSink, Process, Recorder, Settings, SinkError,
    Value,
};
use time::OffsetDateTime;

#[derive(Debug, Default)]
struct MemoryLog(Mutex<Vec<String>>);

impl LogSink for MemoryLog {
    fn emit<'a>(&self, event: &'a Event<'a>) -> Result<(), SinkError> {
        let line = match event {
            Event::CallNamed { function, .. } => format!("{function}"),
            Event::CallStarted { function, arguments, .. } => {
                let positional =
                    (0..).zip(&arguments.positional).map(|(i, value)| format!(" arg_{i}={}", shown(value)));
                let keyword =
                    arguments.keyword.iter().map(|(name, value)| format!(" kwarg_{name}={}", shown(value)));
                let self_id = arguments.self_id.map(|_| " (has id)".to_owned());
                let all: String = positional.chain(keyword).chain(self_id).collect();
                format!("{function}{all}")
            }
            Event::CallReturned { result, .. } => {
                let written: String = result
                    .written
                    .iter()
                    .map(|(place, value)| format!(" {place}={}", shown(value)))
                    .collect();
                format!("-> {}{written}", shown(&result.value))
            }
            Event::CallFailed { error } => format!("{} {}: {}", error.kind, error.type_name, error.text),
            Event::Started { .. } | Event::InputsDumped { .. } | Event::OutputsDumped { .. } => return Ok(()),
            Event::Notice { text } => (*text).to_owned(),
        };
        self.0.lock().expect("no test panics here").push(line);
        Ok(())
    }
}

fn shown(value: &LiveValue<'_>) -> String {
    let list = |items: &[LiveValue<'_>]| items.iter().map(shown).collect::<Vec<_>>().join(", ");
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(value) => format!("{:?}", value.as_str().expect("Unicode")),
        Value::List(items) => format!("[{}]", list(items)),
        Value::Tuple { items, .. } => format!("({})", list(items)),
        Value::Opaque { repr, .. } => {
            let text = repr.as_str().expect("Unicode").to_owned();
            match text.split_once(" at 0x") {
                Some((start, _)) => format!("{start} at ..>"),
                None => text,
            }
        }
        other => format!("{other:?}"),
    }
}

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
    }
}

impl Host for Fixed {
    fn process(&self) -> Arc<Process> {
        Arc::new(Process { id: 1, host: "node".into(), token: "0".into() })
    }
}

/// The installed recorder is the process's: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs code with a recorder of a level; returns what it gives, and the log.
pub(crate) fn at<R>(level: Level, code: impl FnOnce() -> R) -> (R, Vec<String>) {
    let (result, lines, _) = with_health(level, code);
    (result, lines)
}

/// Does what [`at`] does, and returns the books.
pub(crate) fn with_health<R>(level: Level, code: impl FnOnce() -> R) -> (R, Vec<String>, Health) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let log = Arc::new(MemoryLog::default());
    let adapters = Adapters {
        log: Some(log.clone()),
        dumps: None,
        usage: None,
        clock: Arc::new(Fixed),
        host: Arc::new(Fixed),
    };
    let recording = callbox::install(Recorder::new(Settings { level, ..Settings::default() }, adapters));
    let result = code();
    let health = recording.recorder().health();
    drop(recording);
    let lines = std::mem::take(&mut *log.0.lock().expect("no test panics here"));
    (result, lines, health)
}

/// Runs code at level 3 and checks the log, less the module in front of names.
#[track_caller]
pub(crate) fn check<R>(code: impl FnOnce() -> R, expected: &[&str]) -> R {
    let (result, lines) = at(Level::Values, code);
    let lines: Vec<_> = lines.iter().map(|line| line.strip_prefix("all.").unwrap_or(line)).collect();
    assert_eq!(lines, expected);
    result
}
