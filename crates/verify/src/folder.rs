//! The folder of one call, or of one flush of it.

use std::path::{Path, PathBuf};

use callbox_core::{
    CallRecord, CallState, DumpSource, DumpedCall, ExecutionStatus, Finding, Group, Quoted, SourceError,
};
use callbox_sink_fs::{Entry, EntryKind, FLUSHES_FOLDER, FsSource, HashCheck, METADATA_FILE};

use crate::flush::{is_unfinished, later_flushes, unpublished};
use crate::report::Report;
use crate::tensors::compare;

/// Where a folder is.
pub(crate) struct Folder {
    /// The call, as a place in the session from 0.
    pub(crate) call: usize,
    /// Below the folder that was opened.
    pub(crate) path: PathBuf,
    /// Its name in the session: `CALL`, or `CALL/graph_flushes/flush_0001`.
    pub(crate) name: String,
}

/// Looks at everything in a folder; `listed` is the session's entry of a call.
pub(crate) fn verify_folder(
    source: &FsSource,
    folder: &Folder,
    listed: Option<&DumpedCall>,
    report: &mut Report,
) {
    let before = report.damages.len();
    match source.tree().entries(&folder.path) {
        Ok(entries) => look(source, folder, listed, entries, report),
        // What is no folder the session's listing tells of.
        Err(_) if listed.is_some_and(|call| call.state.damage().is_some()) => {}
        Err(error) => report.failed(Some(folder.call), &folder.name, "", &error),
    }
    let known = report.damages.len() > before;
    match listed.map(|call| &call.state) {
        // Most often the same as what was found just now, in other words.
        Some(CallState::Damaged { reason }) if !known => {
            report.damage(Some(folder.call), &folder.name, "", reason);
        }
        Some(CallState::NotStarted) => {
            report.note(&folder.name, "empty: its recording failed before anything was written");
        }
        Some(CallState::OutputsUnconfirmed) => {
            report
                .note(&folder.name, "no line confirms its outputs: the process ended between the two writes");
        }
        _ => {}
    }
}

fn look(
    source: &FsSource,
    folder: &Folder,
    listed: Option<&DumpedCall>,
    mut entries: Vec<Entry>,
    report: &mut Report,
) {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let is_empty = entries.iter().all(|entry| entry.name.as_ref().is_some_and(|name| name.starts_with('.')));
    let losses = if is_empty { Vec::new() } else { records(source, folder, report) };
    let record = source.tree().record(&folder.path).ok();
    let remarks = listed.and_then(|call| source.record(call).ok()).map(|loaded| loaded.findings);
    let mut remarks = remarks.unwrap_or_default();
    remarks.retain(|remark| !losses.contains(remark));
    if let (Some(call), Some(record)) = (listed, &record)
        && has_lost_its_ending(call, record)
        && report.damages.last().is_none_or(|last| last.folder != folder.name || last.file != METADATA_FILE)
    {
        let reason = format!(
            "its last record says {}, session.jsonl says {}, which is written later: a record is lost",
            record.status,
            call.state.name()
        );
        report.damage(Some(folder.call), &folder.name, METADATA_FILE, reason);
        remarks.retain(|remark| !remark.message.contains("lists status"));
    }
    report.notes.extend(remarks);
    if let Some(note) = record.as_ref().and_then(|record| unpublished(source, &folder.path, record)) {
        report.note(&folder.name, note);
    }
    for group in Group::ALL {
        let names = entries.iter().filter_map(|entry| entry.name.as_deref());
        let names = names.filter(|name| is_of(source, group, name));
        let mut any = false;
        for name in names {
            any = true;
            file(source, folder, group, name, record.as_ref(), report);
        }
        let Some(record) = record.as_ref().filter(|record| !any && is_expected(record, group)) else {
            continue;
        };
        let name = recorded_name(source, record, group);
        if later_flushes(source, &folder.path, record).any(|flush| flush.has(source, &name)) {
            let message = "missing, and there in a later flush than the record says: writing it here failed";
            report.note(format!("{}/{name}", folder.name), message);
        } else {
            let reason = "its tensors are recorded, the file is missing";
            report.damage(Some(folder.call), &folder.name, name, reason);
        }
    }
    others(source, folder, &entries, report);
}

/// Tells whether the index has an ending that the call's own records lack. Every line is written there first; a flush has
/// its ending in its own folder.
fn has_lost_its_ending(call: &DumpedCall, record: &CallRecord) -> bool {
    let has_ended =
        matches!(call.state, CallState::Completed | CallState::Failed | CallState::OutputsSkipped);
    has_ended && record.status == ExecutionStatus::InputsSaved && record.graph_flush.is_none()
}

/// Reads every line of the folder's records; returns those that are lost.
fn records(source: &FsSource, folder: &Folder, report: &mut Report) -> Vec<Finding> {
    let path = folder.path.join(METADATA_FILE);
    let check = match source.tree().check_records(&path) {
        Ok(Some(check)) => check,
        Ok(None) => {
            report.damage(
                Some(folder.call),
                &folder.name,
                METADATA_FILE,
                "it is missing, and other files are there",
            );
            return Vec::new();
        }
        Err(error) => {
            report.failed(Some(folder.call), &folder.name, METADATA_FILE, &error);
            return Vec::new();
        }
    };
    report.totals.records += check.records;
    report.totals.records_agree += check.with_hash;
    if check.records == 0 && check.losses.is_empty() {
        report.damage(Some(folder.call), &folder.name, METADATA_FILE, "it holds no record");
    }
    for loss in &check.losses {
        report.damage(Some(folder.call), &folder.name, METADATA_FILE, &loss.message);
    }
    let mut known = check.losses;
    report.notes.extend(check.remarks.iter().cloned());
    known.extend(check.remarks);
    known
}

/// Reads a file of tensors and compares it with what is recorded of it.
fn file(
    source: &FsSource,
    folder: &Folder,
    group: Group,
    name: &str,
    record: Option<&CallRecord>,
    report: &mut Report,
) {
    let path = folder.path.join(name);
    report.totals.files += 1;
    report.totals.bytes += size(source, &path);
    let (tensors, check) = match source.tree().checked_tensors(&path) {
        Ok(Some(read)) => read,
        Ok(None) => {
            return report.damage(Some(folder.call), &folder.name, name, "it went away while it was read");
        }
        Err(SourceError::NotAsWritten { .. })
            if record.is_some_and(|record| {
                later_flushes(source, &folder.path, record).any(|flush| flush.gave(source, &path, name))
            }) =>
        {
            let message =
                "of a later flush than the record says: the process ended while it exchanged the files";
            return report.note(format!("{}/{name}", folder.name), message);
        }
        Err(error) => return report.failed(Some(folder.call), &folder.name, name, &error),
    };
    // What the hash of the whole file covers needs no checksum.
    let unchecked = if check == HashCheck::Agrees { &[] } else { tensors.unchecked() };
    if let Some(first) = unchecked.first() {
        let (first, more) = (Quoted(first.as_bytes()), unchecked.len() - 1);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!("whoever wrote {first}{more} left out the checksum: damage there goes unseen");
        report.note(format!("{}/{name}", folder.name), message);
    }
    let totals = &mut report.totals;
    totals.tensors += tensors.len();
    totals.entries_without_checksum += unchecked.len();
    match check {
        HashCheck::Agrees => totals.files_agree += 1,
        HashCheck::NotRecorded => totals.files_without_hash += 1,
        HashCheck::Unknown(_) | HashCheck::NotComputed => totals.files_not_hashed += 1,
    }
    if let HashCheck::Unknown(kind) = check {
        let message = format!("its hash is one of `{kind}`, which this version does not know");
        report.note(format!("{}/{name}", folder.name), message);
    }
    let Some(record) = record else { return };
    let recorded = record.files.iter().find(|file| file.name == name);
    report.totals.unstable += usize::from(recorded.is_some_and(|file| file.is_unstable));
    for difference in compare(record, group, &tensors) {
        report.damage(Some(folder.call), &folder.name, name, difference);
    }
}

fn size(source: &FsSource, path: &Path) -> u64 {
    let file = source.tree().file(path).ok().flatten();
    file.and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len())
}

/// Tells whether a name is that of a group's file, in a format that is known.
fn is_of(source: &FsSource, group: Group, name: &str) -> bool {
    let rest = name.strip_prefix(group.stem());
    rest.is_some_and(|rest| rest.starts_with('.')) && source.tree().format_of(name).is_some()
}

/// Tells whether there has to be a file of a group.
fn is_expected(record: &CallRecord, group: Group) -> bool {
    // Captured calls get their files at each flush, inputs before the first of its records.
    let has_inputs = record.graph_flush.is_some() && record.status == ExecutionStatus::InputsSaved;
    let is_there = record.status == ExecutionStatus::Completed || (has_inputs && group == Group::Inputs);
    let is_captured = record.graph_capture && !is_there;
    let keys = match group {
        Group::Inputs => &record.tensor_info.input_keys,
        Group::Outputs => &record.tensor_info.output_keys,
        Group::ArgsAfter => &record.tensor_info.args_after_keys,
    };
    !keys.is_empty() && !is_captured && record.status != ExecutionStatus::GraphCapturePendingFlush
}

/// Returns the name that a group's file should have.
fn recorded_name(source: &FsSource, record: &CallRecord, group: Group) -> String {
    let recorded = record.files.iter().find(|file| is_of(source, group, &file.name));
    match recorded {
        Some(file) => file.name.clone(),
        None => format!("{} ({})", group.stem(), record.tensor_format),
    }
}

/// Looks at what is neither records nor tensors: flushes of a captured call, and what somebody left.
fn others(source: &FsSource, folder: &Folder, entries: &[Entry], report: &mut Report) {
    for entry in entries {
        let Some(name) = entry.name.as_deref() else {
            report.note(&folder.name, "a name that is not UTF-8 is passed over");
            continue;
        };
        let place = format!("{}/{name}", folder.name);
        match entry.kind {
            EntryKind::Folder if name == FLUSHES_FOLDER && !folder.name.contains('/') => {
                flushes(source, folder, &place, report);
            }
            EntryKind::File if name.starts_with('.') && name.ends_with(".tmp") => {
                report.note(place, "left by a process that ended while it wrote the file");
            }
            EntryKind::File => {}
            EntryKind::Folder | EntryKind::Link | EntryKind::Other => {
                report.note(place, "no file of a recording; it is passed over");
            }
        }
    }
}

fn flushes(source: &FsSource, folder: &Folder, place: &str, report: &mut Report) {
    let path = folder.path.join(FLUSHES_FOLDER);
    let mut entries = source.tree().entries(&path).unwrap_or_default();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Folder) {
        let Some(name) = entry.name.as_deref() else { continue };
        if is_unfinished(source, &folder.path, name) {
            report.note(
                format!("{place}/{name}"),
                "a flush that was not finished: the process ended, or writing failed",
            );
            continue;
        }
        let flush = Folder { call: folder.call, path: path.join(name), name: format!("{place}/{name}") };
        verify_folder(source, &flush, None, report);
    }
}
