//! A call as a person reads it.

use std::io::{self, Write};

use callbox_core::error::chain;
use callbox_core::{CallRecord, CallState, DumpedCall, LoadedTensor, MetaValue};

use super::table::{self, Row};
use super::{Loaded, Shown};
use crate::args::ShowArgs;
use crate::describe::TensorText;
use crate::replay::details;
use crate::show::object::sha256;
use crate::{describe, style, units};

/// Prints the page.
pub(super) fn print(
    out: &mut dyn Write,
    shown: &Shown<'_>,
    arguments: &ShowArgs,
    program: &str,
) -> io::Result<()> {
    let call = shown.call;
    writeln!(
        out,
        "{}   {}   call {} of pid {}   {}",
        style::clean(call.function.name()),
        style::clean(call.function.module()),
        call.call_sequence,
        call.process.process_id,
        style::paint(style::state(&call.state), &style::clean(&state(call))),
    )?;
    writeln!(out, "{}", style::paint(style::dim(), &style::clean(&call.folder)))?;
    match &shown.record {
        Ok(loaded) => {
            for finding in shown.findings() {
                writeln!(out, "note: {}", style::clean(&finding.to_string()))?;
            }
            print_record(out, shown, &loaded.record, arguments.hash)?;
        }
        Err(error) => {
            let error = style::clean(&chain(error));
            writeln!(out, "  {}", style::paint(style::red(), &error))?;
        }
    }
    if let Some(replayed) = &shown.replayed {
        let verdict = style::clean(&replayed.verdict.to_string());
        let verdict = style::paint(style::verdict(&replayed.verdict), &verdict);
        writeln!(out, "replayed on {}: {verdict}", arguments.device)?;
        for line in details(replayed) {
            writeln!(out, "  {line}")?;
        }
    }
    let folder = match arguments.number {
        Some(_) => arguments.dir.join(&call.folder),
        None => arguments.dir.clone(),
    };
    writeln!(out, "{program} replay --dir {}", style::shell(&folder.to_string_lossy()))
}

fn state(call: &DumpedCall) -> String {
    let flush = call.flush.map(|flush| format!(", as flush {flush} of its CUDA graph found it"));
    state_text(&call.state) + &flush.unwrap_or_default()
}

fn state_text(state: &CallState) -> String {
    match state {
        CallState::Completed => "completed".to_owned(),
        CallState::InputsSaved => "inputs saved, never completed".to_owned(),
        CallState::OutputsUnconfirmed => "outputs on disk, never confirmed".to_owned(),
        CallState::Failed => "failed".to_owned(),
        CallState::OutputsSkipped => "completed, outputs not kept".to_owned(),
        CallState::GraphPending => "captured into a CUDA graph, never flushed".to_owned(),
        CallState::GraphCaptured => "captured into a CUDA graph".to_owned(),
        CallState::NotStarted => "empty folder".to_owned(),
        CallState::Damaged { reason } => format!("damaged: {reason}"),
    }
}

fn print_record(out: &mut dyn Write, shown: &Shown<'_>, record: &CallRecord, hash: bool) -> io::Result<()> {
    let info = &record.tensor_info;
    let sections = [
        ("", rows(&record.input_metadata, &info.input_keys, &shown.inputs, hash)),
        ("returned", rows(&record.output_metadata, &info.output_keys, &shown.outputs, hash)),
        ("written arguments, after the call", rows(&[], &info.args_after_keys, &shown.args_after, hash)),
    ];
    table::print(out, &sections)?;
    if let Some(error) = &record.error {
        let text = format!("{} {}: {}", error.kind, error.type_name, error.text);
        writeln!(out, "{}", style::clean(&text))?;
    }
    if let Some(reason) = &record.reason {
        writeln!(out, "outputs were not recorded: {}", style::clean(reason))?;
    }
    if !record.function_signature.is_empty() {
        let signature = format!("signature  {}", style::clean(&record.function_signature));
        writeln!(out, "{}", style::paint(style::dim(), &signature))?;
    }
    let versions: Vec<_> =
        record.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let versions = format!("versions   {}", style::clean(&versions.join("   ")));
    writeln!(out, "{}", style::paint(style::dim(), &versions))
}

/// Puts the tensors and values of a group in the order of the call: by position, then by name.
fn rows(metadata: &[(String, MetaValue)], keys: &[String], loaded: &Loaded, hash: bool) -> Vec<Row> {
    let tensors = keys.iter().map(|key| tensor_row(key, loaded, hash));
    let values = metadata.iter().map(|(key, value)| {
        let text = describe::value(value, &|tensor| style::clean(&format!("tensor {}", tensor.key)));
        Row::Value { key: key.clone(), text }
    });
    let mut rows: Vec<_> = values.chain(tensors).collect();
    rows.sort_by_key(|row| position(row.key()));
    rows.iter_mut().for_each(Row::clean_key);
    rows
}

/// Returns the number of `arg_3`, `arg_3__0` or `result_3`; names come behind all numbers.
fn position(key: &str) -> u64 {
    let number = key.strip_prefix("arg_").or_else(|| key.strip_prefix("result_"));
    let digits = number.map(|rest| rest.split("__").next().unwrap_or_default());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

fn tensor_row(key: &str, loaded: &Loaded, hash: bool) -> Row {
    let key = key.to_owned();
    let alarm = |text: &str| style::paint(style::red(), &style::clean(text));
    let tensors = match loaded {
        Ok(tensors) => tensors,
        Err(error) => return Row::Value { text: alarm(error), key },
    };
    match tensors.get(&key) {
        Some(LoadedTensor::Whole(tensor)) => {
            let mut text = TensorText::new(tensor);
            if hash {
                let hash = sha256(tensor).unwrap_or_else(|reason| reason);
                text.content.push_str(&format!("  sha256 {hash}"));
            }
            Row::Tensor { key, text }
        }
        Some(LoadedTensor::WithoutElements { dtype, shape, reason }) => {
            let text = TensorText {
                dtype: dtype.name().to_owned(),
                shape: units::shape(shape),
                layout: style::clean(reason),
                content: String::new(),
            };
            Row::Tensor { key, text }
        }
        None => Row::Value { text: alarm("not in the file"), key },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_shown_in_the_order_of_the_call() {
        let mut keys = ["kwarg_eps", "arg_10", "arg_2__1", "arg_2__0", "arg_0", "result"];
        keys.sort_by_key(|key| position(key));
        assert_eq!(keys, ["arg_0", "arg_2__1", "arg_2__0", "arg_10", "kwarg_eps", "result"]);
    }
}
