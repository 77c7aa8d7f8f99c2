//! What a session on disk must be like, whatever happened to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use callbox_core::error::chain;
use callbox_core::{
    CallRecord, CallState, DumpSource, DumpedCall, Group, LoadedTensor, MetaValue, SourceError,
    TensorSerializer,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::json;
use callbox_sink_fs::{FsSource, ReadOptions};
use callbox_testkit::sim::Tree;

use super::scenario::{INDEX, Scenario, Way};

/// A session as a reader sees it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// For each folder the call's number, where a record tells it, and what the reader says.
    pub(crate) calls: Vec<(Option<usize>, DumpedCall)>,
    /// Where the index and the calls' own records disagree.
    pub(crate) disagreements: Vec<String>,
    /// What must not be, with the number of the call that it is about.
    pub(crate) faults: Vec<(Option<usize>, String)>,
}

impl Seen {
    /// Returns what the reader says of a call.
    pub(crate) fn state(&self, number: usize) -> Option<&CallState> {
        let mut calls = self.calls.iter().filter(|(known, _)| *known == Some(number));
        calls.next().map(|(_, call)| &call.state)
    }
}

/// Reads a session, without a look at what its files say. Empty: there is no session yet.
pub(crate) fn read(folder: &Path) -> Result<(Option<FsSource>, Vec<DumpedCall>), String> {
    let formats: Vec<Arc<dyn TensorSerializer>> =
        vec![Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)];
    let source = match FsSource::open(folder, formats, ReadOptions::default()) {
        Ok(source) => source,
        Err(SourceError::NotFound(_) | SourceError::NotASession(_)) => return Ok((None, Vec::new())),
        Err(error) => return Err(chain(&error)),
    };
    let calls = source.calls().map_err(|error| chain(&error))?.calls;
    Ok((Some(source), calls))
}

/// Reads a session and checks what holds at all times: a line exists only if what it speaks of is whole, nothing
/// half-written has a final name, and each call has one folder and one state.
pub(crate) fn check(scenario: &Scenario, folder: &Path) -> Result<Seen, String> {
    let seen = look(scenario, folder)?;
    match seen.faults.first() {
        Some((_, fault)) => Err(fault.clone()),
        None => Ok(seen),
    }
}

/// As [`check`], but gathers what must not be.
pub(crate) fn look(scenario: &Scenario, folder: &Path) -> Result<Seen, String> {
    let (Some(source), calls) = read(folder)? else { return Ok(Seen::default()) };
    let mut seen = Seen::default();
    for call in calls {
        let record = source.record(&call).ok();
        let number = record.as_ref().and_then(|loaded| number_of(&loaded.record));
        let checked = match number {
            Some(number) => check_call(scenario, &source, &call, number),
            None => check_without_record(scenario, &source, &call),
        };
        if let Err(fault) = checked {
            seen.faults.push((number, format!("{}, {}: {fault}", call.folder, call.state.name())));
        }
        if number.is_some_and(|number| seen.state(number).is_some())
            || seen.calls.iter().any(|(_, known)| known.folder == call.folder)
        {
            return Err(format!("call {number:?} is there twice, once in {}", call.folder));
        }
        seen.disagreements.extend(record.iter().flat_map(|loaded| &loaded.findings).map(ToString::to_string));
        seen.calls.push((number, call));
    }
    Ok(seen)
}

/// Returns the number that a call was given as its argument.
fn number_of(record: &CallRecord) -> Option<usize> {
    record.input_metadata.iter().find_map(|(key, value)| match value {
        MetaValue::Int(number) if key == "arg_1" => number.to_string().parse().ok(),
        _ => None,
    })
}

/// Checks that what is there is whole, and that it is not said to be of use.
fn check_without_record(scenario: &Scenario, source: &FsSource, call: &DumpedCall) -> Result<(), String> {
    for group in [Group::Inputs, Group::Outputs] {
        let of = if group == Group::Inputs { Scenario::input } else { Scenario::output };
        let bytes = tensor(source, call, group)?;
        if bytes.is_some_and(|bytes| (0..100).all(|number| of(scenario, number) != bytes)) {
            return Err(format!("{} are nobody's", group.stem()));
        }
    }
    match &call.state {
        CallState::NotStarted | CallState::Damaged { .. } => Ok(()),
        state => Err(format!("it has no record and is {}", state.name())),
    }
}

/// Checks one call's files against its record.
fn check_call(
    scenario: &Scenario,
    source: &FsSource,
    call: &DumpedCall,
    number: usize,
) -> Result<(), String> {
    let way = scenario.way_of(number);
    check_tensor(source, call, Group::Inputs, &scenario.input(number))?;
    match &call.state {
        CallState::Completed => {
            check_tensor(source, call, Group::Outputs, &scenario.output(number))?;
            if way != Way::Returns {
                return Err("it did not return and is completed".to_owned());
            }
        }
        CallState::OutputsUnconfirmed => {
            check_tensor(source, call, Group::Outputs, &scenario.output(number))?;
        }
        CallState::Failed if way == Way::Returns => return Err("it returned and is failed".to_owned()),
        CallState::Failed | CallState::InputsSaved | CallState::OutputsSkipped => {}
        CallState::GraphPending | CallState::GraphCaptured | CallState::NotStarted => {
            return Err("it has a record, and that is no state for it".to_owned());
        }
        CallState::Damaged { reason } => return Err(format!("it is damaged: {reason}")),
    }
    Ok(())
}

fn check_tensor(source: &FsSource, call: &DumpedCall, group: Group, expected: &[u8]) -> Result<(), String> {
    match tensor(source, call, group)? {
        None => Err(format!("{} are recorded and not there", group.stem())),
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(format!("{} are {} bytes of something else", group.stem(), found.len())),
    }
}

/// Loads the one tensor of a group's file.
fn tensor(source: &FsSource, call: &DumpedCall, group: Group) -> Result<Option<Vec<u8>>, String> {
    let tensors = source.load(call, group).map_err(|error| format!("{}: {}", group.stem(), chain(&error)))?;
    Ok(tensors.map(|tensors| match tensors.iter().next() {
        Some((_, LoadedTensor::Whole(tensor))) => tensor.to_bytes().to_vec(),
        Some((_, LoadedTensor::WithoutElements { .. })) | None => Vec::new(),
    }))
}

/// Checks that what was there is there still, byte for byte: a session only grows at the end of its index.
pub(crate) fn check_grown(before: &Tree, after: &Tree) -> Result<(), String> {
    let after: BTreeMap<_, _> = after.entries().into_iter().collect();
    for (path, old) in before.entries() {
        let new = after.get(&path).ok_or_else(|| format!("{path} is gone"))?;
        let is_index = path == INDEX;
        match (&old, new) {
            (Some(old), Some(new)) if is_index && new.starts_with(old) => {}
            (old, new) if old == new => {}
            _ => return Err(format!("{path} is not what it was")),
        }
    }
    Ok(())
}

/// Returns the number of lines of the session's index that are torn.
pub(crate) fn torn_lines(tree: &Tree) -> usize {
    let index = tree.entries().into_iter().find(|(path, _)| path == INDEX);
    let bytes = index.and_then(|(_, bytes)| bytes).unwrap_or_default();
    let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    // Behind the last newline there is nothing, or a line that is not closed.
    lines.pop_if(|line| line.is_empty());
    lines.len() - index_lines(tree).len()
}

/// Returns the whole lines of the session's index: those that are JSON.
pub(crate) fn index_lines(tree: &Tree) -> Vec<Vec<u8>> {
    let index = tree.entries().into_iter().find(|(path, _)| path == INDEX);
    let bytes = index.and_then(|(_, bytes)| bytes).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| json::parse(line).is_ok());
    lines.map(<[u8]>::to_vec).collect()
}
