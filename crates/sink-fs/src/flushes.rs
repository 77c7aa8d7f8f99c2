//! The folders of a captured call's flushes, inside the call's own.

use std::path::{Path, PathBuf};

use callbox_core::planted;

use crate::folder::METADATA_FILE;
use crate::open::Root;

/// The folder inside a captured call's that has one for each flush.
pub const FLUSHES_FOLDER: &str = "graph_flushes";

/// Returns the folder that has a call's tensors: of a captured call that of its last flush, where it is there. The call's
/// own has copies, which a process that ended may have left half exchanged.
pub(crate) fn folder_of_tensors(root: &Root, call: &Path, flush: Option<u64>) -> PathBuf {
    let flush = flush.map(|index| call.join(FLUSHES_FOLDER).join(flush_folder(index)));
    if planted::bug("latest_files_are_read") {
        return call.to_owned();
    }
    flush.filter(|flush| root.exists(&flush.join(METADATA_FILE))).unwrap_or_else(|| call.to_owned())
}

/// Names the folder of a flush, as FlashInfer does.
pub(crate) fn flush_folder(index: u64) -> String {
    format!("flush_{index:04}")
}
