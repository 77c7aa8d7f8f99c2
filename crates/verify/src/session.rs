//! A whole session, or one call of it.

use std::path::Path;
use std::sync::Arc;

use callbox_core::{DumpSource, DumpedCall, SourceError, TensorSerializer};
use callbox_sink_fs::{FsSource, ReadOptions, SESSION_FILE};

use crate::flush::index_of;
use crate::folder::{Folder, verify_folder};
use crate::report::Report;

/// What to look at.
#[derive(Clone, Debug)]
pub struct VerifyOptions<'a> {
    /// The session's folder, or that of one call.
    pub dir: &'a Path,
    /// The formats that files may have.
    pub formats: Vec<Arc<dyn TensorSerializer>>,
    /// How files are read.
    pub read: ReadOptions,
}

/// A call has two records.
const LINES_OF_A_CALL: usize = 2;

/// Reads every line and every file of tensors of a session, one file at a time, and compares each with whatever tells
/// what was written: hashes, checksums, and the descriptions in the records.
///
/// `Ok`: everything was looked at; what is damaged is among [`Report::damages`], and what nothing can be compared with
/// is counted. `progress` hears, after each call, how many of how many are done.
pub fn verify(
    options: &VerifyOptions<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Report, SourceError> {
    let source = FsSource::open(options.dir, options.formats.clone(), options.read)?;
    let session = source.calls()?;
    let mut report = Report { calls: session.calls.len(), ..Report::default() };
    let listed = verify_index(&source, &mut report);
    for (place, call) in session.calls.iter().enumerate() {
        let folder = Folder { call: place, path: source.relative(call), name: call.folder.clone() };
        verify_folder(&source, &folder, Some(call), &mut report);
        progress(place + 1, session.calls.len());
    }
    compare_counts(&source, &session.calls, listed, &mut report);
    Ok(report)
}

/// Compares the number of records in the index with those of the calls' own files.
///
/// A recorder that ends between the two leaves the last one out. More than that was lost since.
fn compare_counts(source: &FsSource, calls: &[DumpedCall], listed: Option<usize>, report: &mut Report) {
    let own = report.totals.records - listed.unwrap_or_default();
    // The folder of a captured call's flushes has no index either.
    let is_session = calls
        .iter()
        .any(|call| !source.relative(call).as_os_str().is_empty() && index_of(&call.folder).is_none());
    let is_known = report.damages.iter().any(|damage| damage.file == SESSION_FILE);
    if !is_session || is_known {
        return;
    }
    match listed {
        None | Some(0) if own > LINES_OF_A_CALL => {
            let what = if listed.is_none() { "it is missing" } else { "it is empty" };
            let message = format!("{what}, and the calls' own files have {own} records");
            report.damage(None, "", SESSION_FILE, message);
        }
        Some(listed) if own > listed => {
            let message =
                format!("it has {listed} records, the calls' own files have {own}: some never came here");
            report.note(SESSION_FILE, message);
        }
        None | Some(_) => {}
    }
}

/// Reads every line of the index; returns the number of records. `None`: there is no index, as in the folder of one
/// call.
fn verify_index(source: &FsSource, report: &mut Report) -> Option<usize> {
    match source.tree().check_records(Path::new(SESSION_FILE)) {
        Ok(Some(check)) => {
            report.totals.records += check.records;
            report.totals.records_agree += check.with_hash;
            check.losses.into_iter().for_each(|loss| report.damage(None, "", SESSION_FILE, loss.message));
            report.notes.extend(check.remarks);
            Some(check.records)
        }
        Ok(None) => None,
        Err(error) => {
            report.failed(None, "", SESSION_FILE, &error);
            None
        }
    }
}
