//! `session.jsonl`: the index of a session.

use std::collections::HashMap;
use std::io::Read;

use callbox_core::{Finding, SlotName};

use crate::call_facts::{CallFacts, Shared};
use crate::jsonl::{LineError, read_records};
use crate::line_facts::{LineFacts, scan_line};
use crate::record::RecordError;

/// The file's name inside a session.
pub(crate) const SESSION_FILE: &str = "session.jsonl";

/// Longest name that the common file systems take, in bytes.
const MAX_NAME: usize = 255;

/// The calls that the index knows, by their folders' names.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) calls: HashMap<String, Indexed>,
    pub(crate) findings: Vec<Finding>,
}

/// A call in the index.
#[derive(Debug)]
pub(crate) struct Indexed {
    /// Place of its first line among the first lines of all calls.
    pub(crate) place: usize,
    pub(crate) facts: CallFacts,
}

impl Index {
    /// Reads the index line by line; memory grows with the number of calls, not with the file.
    pub(crate) fn read(input: impl Read, shared: &mut Shared) -> Index {
        let mut calls = HashMap::new();
        let findings = read_records(input, SESSION_FILE, &mut |_, line| {
            let facts = scan_line(line)?;
            // A snapshot's folder lies inside that of its call, which has lines of its own.
            if facts.is_snapshot {
                return Ok(None);
            }
            take(&mut calls, &facts, shared)
        });
        Index { calls, findings }
    }
}

fn take(
    calls: &mut HashMap<String, Indexed>,
    line: &LineFacts<'_>,
    shared: &mut Shared,
) -> Result<Option<String>, LineError> {
    let folder = match &line.dump_dir {
        Some(dump_dir) => folder_name(dump_dir)?,
        None => &slot_name(line)?,
    };
    if let Some(known) = calls.get_mut(folder) {
        return known.facts.update(folder, line, shared);
    }
    let facts = CallFacts::new(folder, line, shared)?;
    calls.insert(
        folder.to_owned(),
        Indexed {
            place: calls.len(),
            facts,
        },
    );
    Ok(None)
}

/// Takes the last component of a recorded path. The path is another machine's: it is a name to look up, never a
/// way to go.
fn folder_name(dump_dir: &str) -> Result<&str, RecordError> {
    let name = dump_dir.rsplit('/').next().unwrap_or_default();
    if matches!(name, "" | "." | "..") || name.contains(['\\', '\0']) || name.len() > MAX_NAME {
        return Err(RecordError::new(format!(
            "`dump_dir` is {dump_dir:?}, which names no folder"
        )));
    }
    Ok(name)
}

fn slot_name(line: &LineFacts<'_>) -> Result<String, RecordError> {
    let slot = || {
        Some(SlotName {
            timestamp: line.timestamp.as_deref()?.to_owned(),
            process_id: line.process_id?,
            function: line.function.clone().into_owned(),
            call_sequence: line.call_sequence?,
        })
    };
    let name = slot().map(|slot| slot.to_string());
    name.filter(|name| SlotName::parse(name).is_some())
        .ok_or_else(|| RecordError::new("there is no `dump_dir`, and too little else to tell the folder by"))
}
