//! What an interrupted flush of a captured call leaves behind, so that it is told apart from damage.
//!
//! A flush is whole in its own folder before a file of it comes to the call's, and each file comes there before its record.

use std::path::{Path, PathBuf};

use callbox_core::{CallRecord, ExecutionStatus};
use callbox_sink_fs::{FLUSHES_FOLDER, FsSource};

/// The folder of a flush.
pub(crate) struct Flush {
    path: PathBuf,
    index: u64,
}

impl Flush {
    /// Tells whether the flush has a file.
    pub(crate) fn has(&self, source: &FsSource, name: &str) -> bool {
        source.tree().file(&self.path.join(name)).is_ok_and(|file| file.is_some())
    }

    /// Tells whether a file of the call's folder is the flush's.
    pub(crate) fn gave(&self, source: &FsSource, file: &Path, name: &str) -> bool {
        let copy = self.path.join(name);
        let len =
            |path: &Path| source.tree().file(path).ok().flatten()?.metadata().ok().map(|data| data.len());
        let bytes = |path: &Path| source.tree().bytes(path).ok().flatten();
        // Files of another size need not be read.
        len(&copy).is_some() && len(&copy) == len(file) && bytes(&copy) == bytes(file)
    }

    fn record(&self, source: &FsSource) -> Option<CallRecord> {
        source.tree().record(&self.path).ok()
    }

    fn has_ended(&self, source: &FsSource) -> bool {
        self.record(source).is_some_and(|record| record.status == ExecutionStatus::Completed)
    }

    /// FlashInfer's last record of a flush without output tensors is that of its inputs.
    fn is_all_of_flashinfers(&self, source: &FsSource) -> bool {
        self.record(source).is_some_and(|record| {
            record.origin.is_none()
                && record.status == ExecutionStatus::InputsSaved
                && record.tensor_info.output_keys.is_empty()
        })
    }
}

/// Lists the flushes of a call's folder.
fn flushes(source: &FsSource, call: &Path) -> impl Iterator<Item = Flush> {
    let folder = call.join(FLUSHES_FOLDER);
    let entries = source.tree().entries(&folder).unwrap_or_default();
    let names = entries.into_iter().filter_map(|entry| entry.name);
    names.filter_map(move |name| Some(Flush { index: index_of(&name)?, path: folder.join(&name) }))
}

/// Lists the flushes behind the one that a call's record names; where it stops in the middle of that, it among them.
pub(crate) fn later_flushes(
    source: &FsSource,
    call: &Path,
    record: &CallRecord,
) -> impl Iterator<Item = Flush> {
    let whole = record.graph_flush.as_ref().map_or(0, |flush| match record.status {
        ExecutionStatus::InputsSaved => flush.index.saturating_sub(1),
        _ => flush.index,
    });
    let is_captured = record.graph_capture;
    flushes(source, call).filter(move |flush| is_captured && flush.index > whole)
}

/// Tells whether a flush comes behind those that the call's record knows, and has no ending of its own.
pub(crate) fn is_unfinished(source: &FsSource, call: &Path, name: &str) -> bool {
    let Ok(record) = source.tree().record(call) else { return false };
    let index = index_of(name);
    let mut later = later_flushes(source, call, &record).filter(|flush| Some(flush.index) == index);
    later.next().is_some_and(|flush| !flush.has_ended(source) && !flush.is_all_of_flashinfers(source))
}

/// Says so where the call's record stops in the middle of a flush that is whole in its own folder.
pub(crate) fn unpublished(source: &FsSource, call: &Path, record: &CallRecord) -> Option<String> {
    let last = record.graph_flush.as_ref().filter(|_| record.status == ExecutionStatus::InputsSaved)?.index;
    let flush = flushes(source, call).find(|flush| flush.index == last)?;
    flush.has_ended(source).then(|| {
        format!(
            "its last record says inputs_saved of flush {last}, which is whole in its own folder: the process ended, or \
             writing failed, or a record is lost"
        )
    })
}

/// Returns the number of a flush by its folder's name.
pub(crate) fn index_of(name: &str) -> Option<u64> {
    name.strip_prefix("flush_")?.parse().ok()
}
