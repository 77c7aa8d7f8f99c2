//! A call as a person reads it.

use std::io::{self, Write};

use callbox_core::{CallRecord, CallState, LoadedTensor, MetaTensor, MetaValue, TensorMap};

use super::{Loaded, Shown};
use crate::args::ShowArgs;
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
        call.function.name(),
        call.function.module(),
        call.call_sequence,
        call.process.process_id,
        style::paint(style::state(&call.state), &state(&call.state)),
    )?;
    writeln!(out, "{}", style::paint(style::dim(), &call.folder))?;
    match &shown.record {
        Ok(loaded) => {
            for finding in &loaded.findings {
                writeln!(out, "note: {finding}")?;
            }
            print_record(out, shown, &loaded.record, arguments.hash)?;
        }
        Err(error) => writeln!(out, "  {}", style::paint(style::red(), &callbox_replay::chain(error)))?,
    }
    if let Some(replayed) = &shown.replayed {
        let verdict = style::paint(style::verdict(&replayed.verdict), &replayed.verdict.to_string());
        writeln!(out, "replayed on cpu: {verdict}")?;
        for line in details(replayed) {
            writeln!(out, "  {line}")?;
        }
    }
    let dir = arguments.dir.display();
    writeln!(out, "{program} replay --dir {dir} --only '{}'", call.function.name())
}

fn state(state: &CallState) -> String {
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
    let mut lines = Lines { hash, lines: Vec::new() };
    lines.tensors(&info.input_keys, &shown.inputs);
    lines.values(&record.input_metadata);
    let inputs = lines.lines.len();
    lines.tensors(&info.output_keys, &shown.outputs);
    lines.values(&record.output_metadata);
    let outputs = lines.lines.len();
    lines.tensors(&info.args_after_keys, &shown.args_after);

    let width = lines.lines.iter().map(|(key, _)| key.chars().count()).max().unwrap_or_default();
    for (place, (key, text)) in lines.lines.iter().enumerate() {
        if place == inputs {
            writeln!(out, "returned")?;
        }
        if place == outputs {
            writeln!(out, "written arguments, after the call")?;
        }
        writeln!(out, "  {key:<width$}  {text}")?;
    }
    if let Some(error) = &record.error {
        writeln!(out, "{} {}: {}", error.kind, error.type_name, error.text)?;
    }
    if let Some(reason) = &record.reason {
        writeln!(out, "outputs were not recorded: {reason}")?;
    }
    if !record.function_signature.is_empty() {
        writeln!(out, "{}", style::paint(style::dim(), &record.function_signature))?;
    }
    let versions: Vec<_> =
        record.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    writeln!(out, "{}", style::paint(style::dim(), &versions.join("   ")))
}

/// Key and text of each line, so that the keys can be put into a column.
struct Lines {
    hash: bool,
    lines: Vec<(String, String)>,
}

impl Lines {
    fn tensors(&mut self, keys: &[String], loaded: &Loaded) {
        for key in keys {
            let text = match loaded {
                Ok(tensors) => self.tensor(key, tensors),
                Err(error) => style::paint(style::red(), error),
            };
            self.lines.push((key.clone(), text));
        }
    }

    fn tensor(&self, key: &str, tensors: &TensorMap) -> String {
        match tensors.get(key) {
            Some(LoadedTensor::Whole(tensor)) if self.hash => {
                let hash = sha256(tensor).unwrap_or_else(|reason| reason);
                format!("{}  sha256 {hash}", describe::tensor(tensor))
            }
            Some(LoadedTensor::Whole(tensor)) => describe::tensor(tensor),
            Some(LoadedTensor::WithoutElements { dtype, shape, reason }) => {
                format!("{:<9} {}  {reason}", dtype.name(), units::shape(shape))
            }
            None => style::paint(style::red(), "not in the file"),
        }
    }

    fn values(&mut self, metadata: &[(String, MetaValue)]) {
        for (key, value) in metadata {
            let tensor = |tensor: &MetaTensor| format!("tensor {}", tensor.key);
            self.lines.push((key.clone(), describe::value(value, &tensor)));
        }
    }
}
