//! Lists a session: its index and one look at the folders beside it.

use std::collections::HashMap;
use std::path::Path;

use callbox_core::{CallState, DumpedCall, Finding, Session, SlotName, SourceError};

use crate::call_facts::{Shared, call_without_record};
use crate::folder::{self, METADATA_FILE, inspect};
use crate::index::{Index, Indexed, SESSION_FILE};
use crate::open::{EntryKind, Root};
use crate::order;

/// Lists the calls of a session folder.
///
/// A folder is looked into only where the index lacks it or shows no ending.
pub(crate) fn list_session(root: &Root) -> Result<Session, SourceError> {
    let mut shared = Shared::default();
    let Index { calls, mut findings } = read_index(root, &mut shared);
    let mut beside = folders(root, &mut findings)?;

    let mut indexed: Vec<(String, Indexed)> = calls.into_iter().collect();
    indexed.sort_unstable_by_key(|(_, indexed)| indexed.place);
    let indexed = indexed
        .into_iter()
        .map(|(folder, indexed)| {
            let kind = beside.remove(&folder);
            indexed_call(root, folder, indexed, kind, &mut shared, &mut findings)
        })
        .collect();

    let mut others = Vec::new();
    for (folder, kind) in beside {
        if is_call_folder(root, &folder, kind) {
            others.push(other_call(root, folder, kind, &mut shared, &mut findings));
        }
    }
    Ok(Session {
        calls: order::merge(indexed, others),
        findings,
    })
}

/// Lists the one call of a call's own folder.
pub(crate) fn list_call(root: &Root, name: &str) -> Session {
    let mut findings = Vec::new();
    let call = inspected_call(
        root,
        Path::new(""),
        name.to_owned(),
        &mut Shared::default(),
        &mut findings,
    );
    Session {
        calls: vec![call],
        findings,
    }
}

/// Reads the index. Without one, the folders tell everything but the order within a millisecond.
fn read_index(root: &Root, shared: &mut Shared) -> Index {
    let missing = |message: String| Index {
        findings: vec![Finding {
            place: SESSION_FILE.to_owned(),
            message,
        }],
        ..Index::default()
    };
    match root.file(Path::new(SESSION_FILE)) {
        Ok(Some(file)) => Index::read(file, shared),
        Ok(None) => missing("there is none; calls are listed by their folders".to_owned()),
        Err(error) => missing(format!(
            "{}; calls are listed by their folders",
            folder::chain(&error)
        )),
    }
}

/// Lists what lies beside the index.
fn folders(root: &Root, findings: &mut Vec<Finding>) -> Result<HashMap<String, EntryKind>, SourceError> {
    let entries = root.list(Path::new(""))?.unwrap_or_default();
    let total = entries.len();
    let named: HashMap<_, _> = entries
        .into_iter()
        .filter_map(|entry| Some((entry.name?, entry.kind)))
        .collect();
    if named.len() < total {
        let message = format!(
            "{} names that are not UTF-8; they are left out",
            total - named.len()
        );
        findings.push(Finding {
            place: ".".to_owned(),
            message,
        });
    }
    Ok(named)
}

/// Tells whether something is a call's folder: by its name, or, renamed, by its records.
pub(crate) fn is_call_folder(root: &Root, name: &str, kind: EntryKind) -> bool {
    SlotName::parse(name).is_some()
        || kind == EntryKind::Folder && root.exists(&Path::new(name).join(METADATA_FILE))
}

fn indexed_call(
    root: &Root,
    folder: String,
    indexed: Indexed,
    kind: Option<EntryKind>,
    shared: &mut Shared,
    findings: &mut Vec<Finding>,
) -> DumpedCall {
    let facts = indexed.facts;
    let Some(kind) = kind else {
        return facts.into_call(
            folder,
            CallState::Damaged {
                reason: "the folder is missing".to_owned(),
            },
        );
    };
    if let Some(state) = folder::not_a_folder(kind) {
        return facts.into_call(folder, state);
    }
    if let Some(state) = folder::ended(&facts.status) {
        return facts.into_call(folder, state);
    }
    let mut inspection = inspect(root, Path::new(&folder), &folder, shared);
    findings.append(&mut inspection.findings);
    let Some(own) = inspection.facts else {
        let state = match inspection.state {
            CallState::NotStarted => CallState::Damaged {
                reason: format!("{SESSION_FILE} has its record, but its folder is empty"),
            },
            state => state,
        };
        return facts.into_call(folder, state);
    };
    if own.status != facts.status {
        let message = format!(
            "{SESSION_FILE} says {}, this record says {}",
            facts.status, own.status
        );
        findings.push(Finding {
            place: folder::place(Path::new(&folder)),
            message,
        });
    }
    own.into_call(folder, inspection.state)
}

fn other_call(
    root: &Root,
    folder: String,
    kind: EntryKind,
    shared: &mut Shared,
    findings: &mut Vec<Finding>,
) -> DumpedCall {
    match folder::not_a_folder(kind) {
        Some(state) => call_without_record(folder, state),
        None => {
            let relative = Path::new(&folder).to_owned();
            inspected_call(root, &relative, folder, shared, findings)
        }
    }
}

fn inspected_call(
    root: &Root,
    relative: &Path,
    name: String,
    shared: &mut Shared,
    findings: &mut Vec<Finding>,
) -> DumpedCall {
    let mut inspection = inspect(root, relative, &name, shared);
    findings.append(&mut inspection.findings);
    match inspection.facts {
        Some(facts) => facts.into_call(name, inspection.state),
        None => call_without_record(name, inspection.state),
    }
}
