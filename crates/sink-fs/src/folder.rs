//! One call's folder: what is in it, and what that says of the call.

use std::path::Path;

use callbox_core::error::chain;
use callbox_core::{CallState, ExecutionStatus, Finding, Group, SourceError};

use crate::call_facts::{CallFacts, Shared};
use crate::flushes::folder_of_tensors;
use crate::jsonl::read_records;
use crate::line_facts::scan_line;
use crate::lines::LineReader;
use crate::open::{EntryKind, Root};

/// The file of a call's own records, in its folder.
pub const METADATA_FILE: &str = "metadata.jsonl";

/// What a look into a folder found.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// What the folder's own records say; `None` without a whole one.
    pub(crate) facts: Option<CallFacts>,
    pub(crate) state: CallState,
    pub(crate) findings: Vec<Finding>,
}

/// Looks into a folder; whatever goes wrong is a state of the call.
///
/// `relative` leads to the folder, `name` is what it is called.
pub(crate) fn inspect(root: &Root, relative: &Path, name: &str, shared: &mut Shared) -> Inspection {
    let mut facts = None;
    let mut findings = Vec::new();
    let state = look(root, relative, name, shared, &mut facts, &mut findings);
    let state = state.unwrap_or_else(|error| CallState::Damaged { reason: chain(&error) });
    Inspection { facts, state, findings }
}

fn look(
    root: &Root,
    relative: &Path,
    name: &str,
    shared: &mut Shared,
    facts: &mut Option<CallFacts>,
    findings: &mut Vec<Finding>,
) -> Result<CallState, SourceError> {
    let Some(mut contents) = Contents::of(root, relative)? else {
        return Ok(CallState::Damaged { reason: "the folder is missing".to_owned() });
    };
    let no_record = scan(root, relative, name, shared, facts, findings)?;
    let tensors = folder_of_tensors(root, relative, facts.as_ref().and_then(|facts| facts.flush));
    if tensors != relative {
        // Its own records are the whole story of that flush; in the call's there may be the beginning of a later one.
        let flush = facts.as_ref().and_then(|facts| facts.flush);
        scan(root, &tensors, name, shared, facts, findings)?;
        // Whatever they say of themselves: this is the flush that the call names.
        if let Some(facts) = facts {
            facts.flush = flush;
        }
        contents = Contents::of(root, &tensors)?.unwrap_or(contents);
    }
    Ok(match facts {
        Some(facts) => classify(facts, &contents),
        None => classify_without_record(&contents, no_record.as_deref()),
    })
}

/// Reads the records in a folder, in their order; gives the reason if there is no whole one. `None`: there is no file of
/// records.
fn scan(
    root: &Root,
    folder: &Path,
    name: &str,
    shared: &mut Shared,
    facts: &mut Option<CallFacts>,
    findings: &mut Vec<Finding>,
) -> Result<Option<String>, SourceError> {
    let Some(file) = root.file(&folder.join(METADATA_FILE))? else { return Ok(None) };
    let mut faults = read_records(LineReader::of_file(file), &place(folder), &mut |_, line| {
        let line = scan_line(line, &mut shared.recurring)?;
        Ok(match facts {
            Some(facts) => facts.update(name, &line, shared),
            None => {
                *facts = Some(CallFacts::new(name, &line, shared));
                None
            }
        })
    });
    findings.append(&mut faults.findings);
    Ok(Some(faults.into_reason()))
}

/// Says where a call's records are, for findings.
pub(crate) fn place(relative: &Path) -> String {
    relative.join(METADATA_FILE).to_string_lossy().into_owned()
}

/// The names inside a call's folder. Names with a leading dot are not the recorder's: version control and
/// desktops leave such files behind.
#[derive(Debug)]
struct Contents {
    names: Vec<String>,
}

impl Contents {
    fn of(root: &Root, relative: &Path) -> Result<Option<Contents>, SourceError> {
        let Some(entries) = root.list(relative)? else {
            return Ok(None);
        };
        let visible =
            entries.into_iter().filter_map(|entry| entry.name).filter(|name| !name.starts_with('.'));
        Ok(Some(Contents { names: visible.collect() }))
    }

    /// Returns the file of a group, whatever its format.
    fn file_of(&self, group: Group) -> Option<&str> {
        let mut names = self.names.iter().map(String::as_str);
        names.find(|name| name.strip_prefix(group.stem()).is_some_and(|rest| rest.starts_with('.')))
    }
}

/// Tells what became of a call from its last record and its files.
fn classify(facts: &CallFacts, contents: &Contents) -> CallState {
    match &facts.status {
        ExecutionStatus::Completed => CallState::Completed,
        ExecutionStatus::Failed => CallState::Failed,
        ExecutionStatus::OutputsSkipped => CallState::OutputsSkipped,
        ExecutionStatus::GraphCapturePendingFlush => CallState::GraphPending,
        ExecutionStatus::InputsSaved
            if facts.inputs.tensors > 0 && contents.file_of(Group::Inputs).is_none() =>
        {
            CallState::Damaged { reason: "input tensors are recorded, their file is missing".to_owned() }
        }
        ExecutionStatus::InputsSaved if contents.file_of(Group::Outputs).is_some() => {
            CallState::OutputsUnconfirmed
        }
        ExecutionStatus::InputsSaved if facts.graph_capture => CallState::GraphCaptured,
        ExecutionStatus::InputsSaved => CallState::InputsSaved,
        ExecutionStatus::Other(status) => CallState::Damaged {
            reason: format!("the execution_status {status:?} is unknown to this version"),
        },
    }
}

/// `no_record` says why the file of the call's records gave none; `None` where there is no such file.
fn classify_without_record(contents: &Contents, no_record: Option<&str>) -> CallState {
    let Some(first) = contents.names.iter().min() else {
        return CallState::NotStarted;
    };
    let file = [Group::Inputs, Group::Outputs].into_iter().find_map(|group| contents.file_of(group));
    let file = file.unwrap_or(first);
    let reason = match no_record {
        Some(why) if file == METADATA_FILE => format!("{METADATA_FILE} holds no whole record: {why}"),
        Some(why) => format!("{file} is there, {METADATA_FILE} holds no whole record: {why}"),
        None => format!("{file} is there, {METADATA_FILE} is missing"),
    };
    CallState::Damaged { reason }
}

/// Tells what became of a call whose ending the index has: then its folder need not be looked into.
pub(crate) fn ended(status: &ExecutionStatus) -> Option<CallState> {
    match status {
        ExecutionStatus::Completed => Some(CallState::Completed),
        ExecutionStatus::Failed => Some(CallState::Failed),
        ExecutionStatus::OutputsSkipped => Some(CallState::OutputsSkipped),
        ExecutionStatus::InputsSaved
        | ExecutionStatus::GraphCapturePendingFlush
        | ExecutionStatus::Other(_) => None,
    }
}

/// Says why something in a session's listing cannot be a call's folder.
pub(crate) fn not_a_folder(kind: EntryKind) -> Option<CallState> {
    let reason = match kind {
        EntryKind::Folder => return None,
        EntryKind::Link => "it is a symbolic link, and those are not followed",
        EntryKind::File | EntryKind::Other => "it is not a folder",
    };
    Some(CallState::Damaged { reason: reason.to_owned() })
}
