#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, reason = "the program shows its log")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, fmt, process};

use callbox_core::{
    Adapters, Callsite, Clock, DType, Event, Host, Layout, Level, Limits, LiveArguments, LogSink, Process,
    Recorder, Settings, SinkError, TensorView, Value,
};
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{Durability, FsSink, Hashing, SinkOptions};
use time::OffsetDateTime;

static SCALE: Callsite = Callsite::new(module_path!(), "scale", "(x: &[f32], factor: f32) -> Vec<f32>");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = env::args().nth(1).unwrap_or_else(|| "compose_dumps".to_owned());
    let log = Arc::new(LastEvents::default());
    let sink = FsSink::new(SinkOptions {
        root: root.into(),
        format: Arc::new(SafetensorsSerializer),
        fallback: None,
        durability: Durability::Process,
        hashing: Hashing::Xxh3,
    });
    let recorder = Recorder::new(
        Settings {
            level: Level::Dumps,
            limits: Limits { max_count: 10, ..Limits::default() },
            ..Settings::default()
        },
        Adapters {
            log: Some(log.clone()),
            dumps: Some(Arc::new(sink)),
            usage: None,
            clock: Arc::new(Utc),
            host: Arc::new(ThisProcess),
        },
    );

    let scaled = scale(&recorder, &[1.0, 2.0, 3.0], 0.5)?;

    println!("{scaled:?}\n{log}");
    println!("{:?}", recorder.health());
    Ok(())
}

/// Multiplies each element; the call is recorded without a macro.
fn scale(recorder: &Recorder, x: &[f32], factor: f32) -> Result<Vec<f32>, callbox_core::LayoutError> {
    let layout = Layout::contiguous(&[x.len()])?;
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let tensor = |bytes| TensorView::new(DType::Float32, layout.clone(), bytes).map(Value::Tensor);

    let input = bytes(x);
    let argument = tensor(&input)?;
    let call = recorder.begin(&SCALE, || LiveArguments {
        positional: vec![argument],
        keyword: vec![("factor", Value::Float(f64::from(factor)))],
        self_id: None,
    });
    let (scaled, call) = call.run(|| x.iter().map(|value| value * factor).collect::<Vec<f32>>());
    let output = bytes(&scaled);
    let result = tensor(&output)?;
    call.complete(|| result.into());
    Ok(scaled)
}

/// A log that keeps the last few events in memory: what a program could show in its own crash report.
#[derive(Debug, Default)]
struct LastEvents(Mutex<VecDeque<String>>);

const KEPT_EVENTS: usize = 16;

impl LogSink for LastEvents {
    fn emit<'a>(&self, event: &'a Event<'a>) -> Result<(), SinkError> {
        let line = match event {
            Event::CallNamed { function, .. } | Event::CallStarted { function, .. } => {
                format!("called {function}")
            }
            Event::CallReturned { .. } => "returned".to_owned(),
            Event::CallFailed { error } => format!("failed: {}", error.text),
            Event::InputsDumped { location, .. } => format!("inputs are in {location}"),
            Event::OutputsDumped { location, .. } => format!("outputs are in {location}"),
            Event::Notice { text } => (*text).to_owned(),
            Event::Started { .. } => return Ok(()),
        };
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push_back(line);
        if events.len() > KEPT_EVENTS {
            events.pop_front();
        }
        Ok(())
    }
}

impl fmt::Display for LastEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

/// Universal time: this program needs no other.
#[derive(Debug)]
struct Utc;

impl Clock for Utc {
    fn now(&self) -> OffsetDateTime {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        std::time::SystemTime::now().into()
    }
}

/// The process by its id; one machine, no forks.
#[derive(Debug)]
struct ThisProcess;

impl Host for ThisProcess {
    fn process(&self) -> Arc<Process> {
        Arc::new(Process { id: process::id().into(), host: "localhost".into(), token: "0".into() })
    }
}
