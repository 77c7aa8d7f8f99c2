//! A whole session.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{DumpSource, DumpedCall, SinkError, SourceError, TensorSerializer};
use callbox_sink_fs::{EntryKind, FileTree, FsSource, METADATA_FILE, NewFolder, ReadOptions, SESSION_FILE};

use crate::carrier::{Carrier, Changes, Folder};
use crate::error::ConvertError;
use crate::report::{DeviationKind, Report};
use crate::target;

/// What to convert, and into what.
#[derive(Clone, Debug)]
pub struct ConvertOptions<'a> {
    /// The session's folder, or that of one call.
    pub dir: &'a Path,
    /// The new session's folder: it is empty or not there, and apart from `dir`. Records name it as it is spelled.
    pub out: &'a Path,
    /// The formats that files may have, that of `to` among them.
    pub formats: Vec<Arc<dyn TensorSerializer>>,
    /// The format to write.
    pub to: Arc<dyn TensorSerializer>,
    /// How files are read.
    pub read: ReadOptions,
}

/// Rewrites a session, or one call as a session of one, with its tensors in another format.
///
/// `Ok`: every call is in the new session, every file that was written was read back and compared, and what did not
/// come out as asked is among [`Report::deviations`]. `progress` hears, after each call, how many of how many are
/// done.
pub fn convert(
    options: &ConvertOptions<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Report, ConvertError> {
    let source = FsSource::open(options.dir, options.formats.clone(), options.read)?;
    target::check(options.dir, options.out)?;
    let session = source.calls()?;
    let kinds = kinds(source.tree())?;

    let sink_error = |source| ConvertError::Sink { out: options.out.to_owned(), source };
    let new = NewFolder::open_or_create(options.out).map_err(sink_error)?;
    let written = FileTree::open(options.out, options.formats.clone(), options.read)?;
    let carrier = Carrier { from: source.tree(), written: &written, to: &options.to, root: options.out };
    let mut report = Report { calls: session.calls.len(), findings: session.findings, ..Report::default() };
    let mut changes = Changes::new();
    for (place, call) in session.calls.iter().enumerate() {
        let from = source.relative(call);
        if from.as_os_str().is_empty() || kinds.get(&call.folder) == Some(&EntryKind::Folder) {
            carry(&carrier, call, from, &new, &mut changes, &mut report).map_err(sink_error)?;
        } else {
            let reason = call.state.damage().unwrap_or("it is not a folder any more");
            report.deviate(DeviationKind::Damaged, &call.folder, reason);
        }
        progress(place + 1, session.calls.len());
    }
    index(&carrier, &source, &session.calls, &new, &changes, &mut report).map_err(sink_error)?;
    let calls: HashSet<_> = session.calls.iter().map(|call| call.folder.as_str()).collect();
    if !is_one_call(&source, &session.calls) {
        report.beside =
            kinds.into_keys().filter(|name| name != SESSION_FILE && !calls.contains(name.as_str())).collect();
        report.beside.sort();
    }
    Ok(report)
}

/// Tells what each name in the session's folder is.
fn kinds(tree: &FileTree) -> Result<HashMap<String, EntryKind>, SourceError> {
    let entries = tree.entries(Path::new(""))?;
    Ok(entries.into_iter().filter_map(|entry| Some((entry.name?, entry.kind))).collect())
}

/// Tells whether the folder is that of one call.
fn is_one_call(source: &FsSource, calls: &[DumpedCall]) -> bool {
    calls.first().is_some_and(|call| source.relative(call).as_os_str().is_empty())
}

fn carry(
    carrier: &Carrier<'_>,
    call: &DumpedCall,
    from: PathBuf,
    new: &NewFolder,
    changes: &mut Changes,
    report: &mut Report,
) -> Result<(), SinkError> {
    let folder = Folder {
        from,
        place: call.folder.clone(),
        details: &call.tensor_details,
        as_it_is: call.state.damage().is_some(),
    };
    if let Some(reason) = call.state.damage() {
        report.deviate(DeviationKind::Damaged, &call.folder, reason);
    }
    carrier.carry(&folder, &new.folder(&call.folder)?, changes, report)
}

/// Writes the index, last of all: a session whose conversion was cut off has none. The records of one call are
/// the index of a session of one.
fn index(
    carrier: &Carrier<'_>,
    source: &FsSource,
    calls: &[DumpedCall],
    new: &NewFolder,
    changes: &Changes,
    report: &mut Report,
) -> Result<(), SinkError> {
    if is_one_call(source, calls) {
        let records = calls.first().and_then(|call| changes.get(&call.folder));
        return carrier.rewrite(Path::new(METADATA_FILE), SESSION_FILE, new, &|_| records, report);
    }
    carrier.rewrite(Path::new(SESSION_FILE), SESSION_FILE, new, &|folder| changes.get(folder), report)
}
