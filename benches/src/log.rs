//! Writing the call log to a file.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use callbox_core::{
    DType, Event, FunctionName, Layout, LiveArguments, LiveResult, LiveValue, LogSink, TensorView, Value,
};
use callbox_sink_stdio::{LogDestination, StdioSink};
use time::OffsetDateTime;

use crate::harness::{Measurement, Variant, race};

const N_EVENTS: usize = 10_000;
const ROUNDS: usize = 30;

/// Measures the line of level 1, and the two events of level 3 of a call with two tensors and two scalars.
pub(crate) fn measure() -> anyhow::Result<Vec<Measurement>> {
    let elements = [0; 64];
    let tensor = |shape: &[usize]| -> anyhow::Result<LiveValue<'_>> {
        Ok(Value::Tensor(TensorView::new(DType::Float16, Layout::contiguous(shape)?, &elements)?))
    };
    let function = FunctionName::new("flashinfer.norm", "rmsnorm");
    let arguments = LiveArguments {
        positional: vec![tensor(&[4, 8])?, tensor(&[8])?, Value::Float(1e-6)],
        keyword: vec![("enable_pdl", Value::Bool(false))],
        self_id: None,
    };
    let result = LiveResult::from(Value::None);
    let at = OffsetDateTime::UNIX_EPOCH;
    let named = Event::CallNamed { at, function: &function };
    let started = Event::CallStarted { at, function: &function, arguments: &arguments, statistics: false };
    let returned = Event::CallReturned { result: &result, statistics: false };

    let mut measurements = measure_event("level 1, line", &named)?;
    measurements.extend(measure_event("level 3, arguments", &started)?);
    measurements.extend(measure_event("level 3, result", &returned)?);
    Ok(measurements)
}

fn measure_event(what: &str, event: &Event<'_>) -> anyhow::Result<Vec<Measurement>> {
    let folder = tempfile::tempdir()?;
    let (ours, plain) = (folder.path().join("ours.log"), folder.path().join("plain.log"));
    let log = StdioSink::open(&LogDestination::File(ours.clone()))?;
    log.emit(event)?;
    let text = fs::read(&ours)?;
    let file = OpenOptions::new().append(true).create(true).open(&plain)?;
    race(
        ROUNDS,
        Some((text.len() * N_EVENTS) as u64),
        vec![
            Variant::new(format!("{what}, 10,000 plain writes"), || {
                (0..N_EVENTS).try_for_each(|_| Ok((&file).write_all(&text)?))
            })
            .cleared_by(|| empty(&plain)),
            Variant::new(format!("{what}, 10,000 events"), || {
                (0..N_EVENTS).try_for_each(|_| Ok(log.emit(event)?))
            })
            .cleared_by(|| empty(&ours)),
        ],
    )
}

fn empty(path: &Path) -> anyhow::Result<()> {
    Ok(File::options().write(true).open(path)?.set_len(0)?)
}
