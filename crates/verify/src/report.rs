//! What a look at every file came to.

use std::collections::BTreeSet;
use std::{fmt, io};

use callbox_core::error::chain;
use callbox_core::{Finding, SourceError};

/// What a look at every file came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Calls of the session, whatever became of them.
    pub calls: usize,
    /// What is damaged, in the session's order, the index first.
    pub damages: Vec<Damage>,
    /// What is odd and costs nothing, in the same order.
    pub notes: Vec<Finding>,
    /// The counts.
    pub totals: Totals,
}

/// A file that is not what was written, or not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The call, as a place in the session from 0; `None` for the session's own files.
    pub call: Option<usize>,
    /// The folder, relative to the session: a call's, or a flush's inside it. Empty for the session itself.
    pub folder: String,
    /// Name of the file in that folder; empty where the folder itself is meant.
    pub file: String,
    /// What is wrong, and where in the file: a line, an entry, a tensor.
    pub reason: String,
    /// It could not be read, for want of a permission or for an error of the disk: nothing is known of what is in
    /// it.
    pub is_unread: bool,
}

/// Counts of what was looked at, and of what could not be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files of tensors that were read.
    pub files: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// Tensors in them.
    pub tensors: usize,
    /// Files whose hash was compared and agrees.
    pub files_agree: usize,
    /// Files whose record has no hash.
    pub files_without_hash: usize,
    /// Files whose hash was not computed: this version does not know its function, or the file was mapped.
    pub files_not_hashed: usize,
    /// Entries whose writer has computed no checksum, of all files.
    pub entries_without_checksum: usize,
    /// Files whose tensors changed while they were written.
    pub unstable: usize,
    /// Records, in all files of lines.
    pub records: usize,
    /// Those among them with a hash of their own that agrees.
    pub records_agree: usize,
}

impl Report {
    /// Tells whether there was anything to look at.
    pub fn has_checked(&self) -> bool {
        self.totals.files > 0 || self.totals.records > 0
    }

    /// Counts the files that are damaged or missing.
    pub fn damaged_files(&self) -> usize {
        count_files(self.damages.iter().filter(|damage| !damage.is_unread))
    }

    /// Counts the files that could not be read.
    pub fn unread_files(&self) -> usize {
        count_files(self.damages.iter().filter(|damage| damage.is_unread))
    }

    pub(crate) fn damage(
        &mut self,
        call: Option<usize>,
        folder: &str,
        file: impl Into<String>,
        reason: impl Into<String>,
    ) {
        let (folder, file, reason) = (folder.to_owned(), file.into(), reason.into());
        self.damages.push(Damage { call, folder, file, reason, is_unread: false });
    }

    /// Says what is wrong with a file whose name is told beside.
    pub(crate) fn failed(
        &mut self,
        call: Option<usize>,
        folder: &str,
        file: impl Into<String>,
        error: &SourceError,
    ) {
        let (folder, file, reason) = (folder.to_owned(), file.into(), without_path(error));
        let is_unread = matches!(error, SourceError::Read { .. });
        self.damages.push(Damage { call, folder, file, reason, is_unread });
    }

    pub(crate) fn note(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.notes.push(Finding { place: place.into(), message: message.into() });
    }
}

fn count_files<'a>(damages: impl Iterator<Item = &'a Damage>) -> usize {
    let files: BTreeSet<_> = damages.map(|damage| (&damage.folder, &damage.file)).collect();
    files.len()
}

fn without_path(error: &SourceError) -> String {
    match error {
        SourceError::Format { source, .. } => chain(source),
        SourceError::NotAsWritten { what, recorded, found, .. } => {
            format!("its {what} is {found} where {recorded} was written: damaged, or another call's file")
        }
        SourceError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            format!("{source}: files are their writer's alone; read them as that user")
        }
        SourceError::Read { source, .. } => format!("failed to read: {source}"),
        SourceError::UnsafePath { reason, .. } => reason.clone(),
        other => chain(other),
    }
}

/// Writes `FOLDER/FILE: REASON`.
impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<&str> =
            [&*self.folder, &*self.file].into_iter().filter(|part| !part.is_empty()).collect();
        write!(f, "{}: {}", parts.join("/"), self.reason)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_called_damaged() {
        let mut report = Report::default();
        let read = |kind: io::ErrorKind| SourceError::Read { path: PathBuf::new(), source: kind.into() };
        report.failed(Some(0), "call", "inputs.pt", &read(io::ErrorKind::PermissionDenied));
        report.failed(Some(0), "call", "outputs.pt", &read(io::ErrorKind::Other));
        report.failed(Some(0), "call", "metadata.jsonl", &SourceError::NotASession(PathBuf::new()));
        assert_eq!((report.damaged_files(), report.unread_files()), (1, 2));
        let text = report.damages[0].to_string();
        assert!(text.starts_with("call/inputs.pt: ") && text.ends_with("read them as that user"), "{text}");
    }
}
