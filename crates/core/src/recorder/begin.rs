//! Before the call: names, arguments, inputs.

use std::collections::HashSet;
use std::sync::Arc;

use time::OffsetDateTime;

use super::inside::Inside;
use super::pending::{PendingCall, Work};
use super::{Inner, guarded};
use crate::budget::Reservation;
use crate::callsite::Callsite;
use crate::describe::Described;
use crate::dump::{Dump, InputsSaved, keep_free, plan_inputs};
use crate::dump_file::Remark;
use crate::error::chain;
use crate::event::Event;
use crate::gate::{Closed, Pass};
use crate::health::{Ending, FaultKind};
use crate::level::Level;
use crate::limits::Limits;
use crate::live::LiveArguments;
use crate::name::FunctionName;
use crate::not_dumped::{NotDumped, NotDumpedCause};
use crate::planted;
use crate::ports::{DeviceMemory, DumpSink};
use crate::record::{CallRecord, ExecutionStatus, Origin, TensorInfo};
use crate::tensor::{StorageBytes, StorageId};

/// What the caller's closure gives; it is called at most once.
type Arguments<'c, 'v> = &'c mut (dyn FnMut() -> LiveArguments<'v> + 'c);

#[cold]
#[inline(never)]
pub(super) fn begin<'v>(
    inner: &Arc<Inner>,
    callsite: &Callsite,
    arguments: Arguments<'_, 'v>,
) -> PendingCall {
    let Some(_inside) = Inside::enter() else {
        return PendingCall::ended();
    };
    inner.books.reach();
    let begun = guarded(|| Ok(try_begin(inner, callsite, arguments)));
    match begun {
        Ok(Ok(work)) => PendingCall::of(work),
        Ok(Err(ending)) => {
            inner.end(ending);
            PendingCall::ended()
        }
        Err(panic) => {
            inner.fault(FaultKind::Inputs, callsite.function(), &panic);
            inner.end(Ending::NotRecorded);
            PendingCall::ended()
        }
    }
}

/// Does what comes before the call; an error is the ending of a call for which nothing is left to do.
fn try_begin<'v>(
    inner: &Arc<Inner>,
    callsite: &Callsite,
    arguments: Arguments<'_, 'v>,
) -> Result<Work, Ending> {
    let at = inner.adapters.clock.now();
    let function = callsite.function();
    if inner.settings.level == Level::Names {
        let logged = inner.emit(|| Event::CallNamed { at, function });
        return Err(if logged { Ending::Logged } else { Ending::NotRecorded });
    }
    if !callsite.is_allowed(inner.number, &inner.settings.filter) {
        return Err(Ending::Filtered);
    }
    let arguments = guarded(|| Ok(arguments())).map_err(|text| {
        inner.fault(FaultKind::Values, function, &text);
        Ending::NotRecorded
    })?;
    let dump = dump_inputs(inner, callsite, &arguments, at);
    let statistics = inner.takes_statistics();
    let logged = inner.emit(|| Event::CallStarted { at, function, arguments: &arguments, statistics });
    // From here on the inputs are on disk: whatever panics, the call gets its ending.
    let devices = guarded(|| Ok(device_memories(&arguments))).unwrap_or_default();
    let let_go = guarded(|| {
        drop(arguments);
        Ok(())
    });
    if let Err(text) = let_go {
        inner.fault(FaultKind::Values, function, &text);
    }
    Ok(Work { inner: inner.clone(), function: function.clone(), dump, logged, devices })
}

/// Dumps the inputs; an error is the ending of a call that is not dumped.
///
/// At a lower level than 10 that ending is [`Ending::Logged`].
fn dump_inputs(
    inner: &Inner,
    callsite: &Callsite,
    arguments: &LiveArguments<'_>,
    at: OffsetDateTime,
) -> Result<Dump<InputsSaved>, Ending> {
    let Some(sink) = inner.adapters.dumps.as_ref().filter(|_| inner.settings.level >= Level::Dumps) else {
        return Err(Ending::Logged);
    };
    let dumped = guarded(|| Ok(try_dump_inputs(inner, sink, callsite, arguments, at)));
    match dumped {
        Ok(dumped) => dumped,
        Err(panic) => {
            inner.fault(FaultKind::Inputs, callsite.function(), &panic);
            Err(Ending::NotRecorded)
        }
    }
}

fn try_dump_inputs(
    inner: &Inner,
    sink: &Arc<dyn DumpSink>,
    callsite: &Callsite,
    arguments: &LiveArguments<'_>,
    at: OffsetDateTime,
) -> Result<Dump<InputsSaved>, Ending> {
    let (ledger, function) = (inner.ledger(), callsite.function());
    let pass = ledger.gate.enter(at).map_err(|closed| match closed {
        Closed::Resting => Ending::Resting,
        Closed::Stopped => Ending::Stopped,
    })?;
    let Limits { max_count, .. } = ledger.budget.limits();
    let reservation = match ledger.budget.take_call() {
        Ok(Some(reservation)) => reservation,
        Ok(None) => {
            inner.warn_once(
                "core: count",
                &format!(
                    "{max_count} calls are dumped{}, the most allowed; further calls are logged, not dumped",
                    ledger.budget.whose()
                ),
            );
            return Err(Ending::OverCount);
        }
        Err(error) => return Err(not_dumped(inner, function, pass, error.into())),
    };
    let count = reservation.number();
    let mut record = first_record(callsite, arguments, at);
    record.call_sequence = ledger.number(function);
    record.process_id = ledger.process.id;
    record.origin = Some(Origin {
        format: Origin::FORMAT,
        host: ledger.process.host.clone(),
        process: ledger.process.token.clone(),
    });
    record.versions.clone_from(&inner.settings.versions);
    let mut dump = match save_inputs(sink, record, arguments, reservation) {
        Ok(dump) => dump,
        Err(error) => return Err(not_dumped(inner, function, pass, error)),
    };
    tell_resumed(inner, pass);
    tell_remarks(inner, dump.take_remarks());
    let (bytes, is_deferred) = (dump.record().tensor_info.input_bytes, dump.record().graph_capture);
    let location = dump.location();
    inner.emit(|| Event::InputsDumped { location, bytes, count, max_count, is_deferred });
    Ok(dump)
}

/// Asks for room for the inputs, and writes them.
fn save_inputs(
    sink: &Arc<dyn DumpSink>,
    mut record: CallRecord,
    arguments: &LiveArguments<'_>,
    mut reservation: Reservation,
) -> Result<Dump<InputsSaved>, NotDumped> {
    let inputs = Described::arguments(arguments);
    let plan = plan_inputs(&**sink, &inputs)?;
    if let Some(plan) = &plan {
        record.tensor_format = plan.format.name.to_owned();
    }
    add_inputs(&mut record, &inputs);
    let plan = plan.filter(|_| !record.graph_capture);
    // A file that is too large is found before a folder is made for it.
    let file_bytes = plan.as_ref().map_or(0, |plan| plan.bytes);
    keep_free(&**sink, reservation.limits().min_free_bytes, file_bytes).map_err(NotDumpedCause::LowSpace)?;
    if !reservation.grow(file_bytes)? {
        return Err(NotDumpedCause::OverSize.into());
    }
    Dump::open(sink, record, inputs.arguments.clone(), reservation)?.save_inputs(&inputs, plan.as_ref())
}

fn first_record(callsite: &Callsite, arguments: &LiveArguments<'_>, at: OffsetDateTime) -> CallRecord {
    CallRecord {
        function: callsite.function().clone(),
        call_sequence: 0,
        timestamp: timestamp(at),
        process_id: 0,
        input_metadata: Vec::new(),
        output_metadata: Vec::new(),
        tensor_info: TensorInfo::default(),
        tensor_details: Vec::new(),
        tensor_format: "torch".to_owned(),
        function_signature: callsite.signature().to_owned(),
        versions: Vec::new(),
        status: ExecutionStatus::InputsSaved,
        graph_capture: false,
        graph_flush: None,
        self_id: arguments.self_id,
        dump_dir: String::new(),
        origin: None,
        error: None,
        reason: None,
        files: Vec::new(),
    }
}

fn add_inputs(record: &mut CallRecord, inputs: &Described<'_>) {
    record.input_metadata.clone_from(&inputs.metadata);
    record.tensor_info.input_keys = inputs.tensor_keys();
    record.tensor_info.input_bytes = inputs.element_bytes();
    record.tensor_details = inputs.tensor_details().collect();
    if inputs.is_capturing() {
        record.graph_capture = true;
        record.status = ExecutionStatus::GraphCapturePendingFlush;
    }
}

fn not_dumped(inner: &Inner, function: &FunctionName, pass: Pass<'_>, error: NotDumped) -> Ending {
    tell_leftover(inner, function, &error);
    let now = || inner.adapters.clock.now();
    match error.cause {
        NotDumpedCause::OverSize => {
            let limit = inner.settings.limits.max_bytes;
            let whose = match inner.ledger().budget.whose() {
                "" => String::new(),
                whose => format!(" for what is dumped{whose}"),
            };
            inner.warn_once(
                "core: size",
                &format!(
                    "a call needs more than what is left of {limit} bytes{whose}; calls that do not fit are logged, not dumped"
                ),
            );
            Ending::OverSize
        }
        NotDumpedCause::LowSpace(free) => {
            let floor = inner.settings.limits.min_free_bytes;
            let then = pass.failed(now());
            inner.warn(&format!(
                "{free} bytes are free where dumps go, {floor} are to stay free after a call's inputs; {then}"
            ));
            Ending::LowSpace
        }
        NotDumpedCause::Sink(error) if error.is_of_the_sink() => {
            inner.sink_fault(FaultKind::Inputs, function, &error, pass.failed(now()));
            Ending::NotRecorded
        }
        NotDumpedCause::Sink(error) => {
            inner.fault(FaultKind::Inputs, function, &chain(&*error));
            Ending::NotRecorded
        }
    }
}

/// Tells the gate that the sink works, and how many calls were skipped if it did not before.
pub(super) fn tell_resumed(inner: &Inner, pass: Pass<'_>) {
    if let Some(skipped @ 1..) = pass.succeeded() {
        inner.warn(&format!("dumping goes on; {skipped} calls were not dumped meanwhile"));
    }
}

pub(super) fn tell_leftover(inner: &Inner, function: &FunctionName, error: &NotDumped) {
    if let Some(leftover) = &error.leftover {
        inner.fault(FaultKind::Cleanup, function, &chain(&**leftover));
    }
}

pub(super) fn tell_remarks(inner: &Inner, remarks: Vec<Remark>) {
    for Remark { kind, text } in remarks {
        inner.warn_once(kind, &text);
    }
}

/// Keeps the device memory of each storage of the call, so that its stream can be waited for when the call has returned:
/// the tensors of one device need not be of one stream.
pub(super) fn device_memories(arguments: &LiveArguments<'_>) -> Vec<Arc<dyn DeviceMemory>> {
    let keyword = arguments.keyword.iter().map(|(_, value)| value);
    let (mut known, mut found) = (HashSet::new(), Vec::new());
    for value in arguments.positional.iter().chain(keyword) {
        value.for_each_tensor(&mut |tensor| {
            let id =
                if planted::bug("one_stream_is_waited_for") { StorageId::new(0) } else { tensor.storage.id };
            if let StorageBytes::Device(memory) = &tensor.storage.bytes
                && known.insert(id)
            {
                found.extend(memory.retain());
            }
        });
    }
    found
}

/// Spells a moment as folder names do: `YYYYMMDD_HHMMSS_mmm`.
fn timestamp(at: OffsetDateTime) -> String {
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}{:02}{:02}_{:02}{:02}{:02}_{:03}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}
