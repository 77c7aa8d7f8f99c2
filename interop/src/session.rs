//! Recording the calls, with a clock and a process of our own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Result, ensure};
use callbox_core::{
    Adapters, Callsite, Clock, Health, Host, Level, Limits, PendingCall, Process, RecordedError, Recorder,
    Settings, TensorSerializer,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{Durability, FsSink, Hashing, SinkOptions};
use serde_json::{Value as Json, json};
use time::{Duration, OffsetDateTime};

use crate::call::{Call, Ending, live_result};

const MODULE: &str = "callbox_interop";

/// A format of the files of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Pt,
    Safetensors,
}

impl Format {
    pub(crate) const ALL: [Format; 2] = [Format::Pt, Format::Safetensors];

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Format::Pt => "pt",
            Format::Safetensors => "safetensors",
        }
    }

    pub(crate) fn serializer(self) -> Arc<dyn TensorSerializer> {
        match self {
            Format::Pt => Arc::new(PtSerializer),
            Format::Safetensors => Arc::new(SafetensorsSerializer),
        }
    }
}

/// Records calls into a folder, `work/name`, and describes what must be there.
pub(crate) fn record(
    work: &Path,
    name: &str,
    format: Format,
    limits: Limits,
    calls: &[Call],
) -> Result<Json> {
    let recorder = recorder(work, name, format, limits);
    for call in calls {
        record_call(&recorder, call)?;
    }
    check_health(&recorder.health(), calls.len())?;
    Ok(json!({
        "folder": name,
        "format": format.extension(),
        "calls": calls.iter().map(Call::describe).collect::<Vec<_>>(),
    }))
}

/// Builds a recorder that writes to `work/name`.
pub(crate) fn recorder(work: &Path, name: &str, format: Format, limits: Limits) -> Recorder {
    let fallback = (format == Format::Safetensors).then(|| Format::Pt.serializer());
    let dumps = Arc::new(FsSink::new(SinkOptions {
        root: work.join(name),
        format: format.serializer(),
        fallback,
        durability: Durability::Process,
        hashing: Hashing::Xxh3,
    }));
    let versions = vec![("callbox".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    let settings = Settings { level: Level::Dumps, limits, versions, ..Settings::default() };
    let adapters = Adapters {
        log: None,
        dumps: Some(dumps.clone()),
        // So that sessions have a file of limits, which FlashInfer's have not.
        usage: Some(dumps),
        clock: Arc::new(Ticking::default()),
        host: Arc::new(Here::new()),
    };
    Recorder::new(settings, adapters)
}

fn record_call(recorder: &Recorder, call: &Call) -> Result<()> {
    let callsite = Callsite::new(MODULE, call.function, "(*args, **kwargs)");
    let arguments = call.arguments()?;
    let pending = recorder.begin(&callsite, || arguments);
    match &call.ending {
        Ending::Returned { result, written } => complete(pending, live_result(result, written)?),
        Ending::ReturnedTooMuch(result) => complete(pending, live_result(result, &[])?),
        Ending::Error(text) => pending.fail(|| RecordedError {
            kind: "error".to_owned(),
            type_name: "InteropError".to_owned(),
            text: (*text).to_owned(),
        }),
        Ending::Panic(text) => {
            // Not `panic!`: nobody needs to read of it.
            let panics = || -> () { resume_unwind(Box::new(*text)) };
            let caught = catch_unwind(AssertUnwindSafe(|| pending.run(panics)));
            ensure!(caught.is_err(), "the panic of {} was swallowed", call.function);
        }
        Ending::Killed => drop(pending),
    }
    Ok(())
}

fn complete(pending: PendingCall, result: callbox_core::LiveResult<'static>) {
    let ((), pending) = pending.run(|| ());
    pending.complete(|| result);
}

/// Makes sure that nothing was lost on the way to disk: the peers should not have to find out.
pub(crate) fn check_health(health: &Health, calls: usize) -> Result<()> {
    ensure!(health.reached == calls as u64, "{} of {calls} calls reached the recorder", health.reached);
    ensure!(health.faults.is_empty(), "recording failed: {:?}", health.faults);
    Ok(())
}

/// A clock that goes on by a millisecond whenever it is read, so that folders sort as the calls were made.
#[derive(Debug, Default)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> OffsetDateTime {
        // 2026-01-01.
        const BEGIN: i64 = 1_767_225_600;
        let begin = OffsetDateTime::from_unix_timestamp(BEGIN).expect("a moment of this century");
        begin + Duration::milliseconds(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// A process that is the same in every run.
#[derive(Debug)]
struct Here(Arc<Process>);

impl Here {
    fn new() -> Here {
        Here(Arc::new(Process { id: 4711, host: "interop".into(), token: "00000000000000ff".into() }))
    }
}

impl Host for Here {
    fn process(&self) -> Arc<Process> {
        self.0.clone()
    }
}
