//! The folder of one call while it is recorded, or of one flush of a captured one.

use std::io::Write;
use std::sync::Arc;

use callbox_core::{CapturedSlot, DumpSlot, FilePlan, Group, Line, SinkError, TensorGroup, WrittenFile};

use crate::captured::FsCaptured;
use crate::disk::Folder;
use crate::folder::METADATA_FILE;
use crate::formats::Formats;
use crate::hash::Hashing;
use crate::line_file::LineFile;
use crate::staged;

/// A call's folder. What is dropped without [`DumpSlot::discard`] stays, as after a crash.
#[derive(Debug)]
pub(crate) struct FsSlot {
    /// The session, or the folder of all flushes.
    parent: Arc<Folder>,
    folder: Folder,
    name: String,
    location: String,
    formats: Formats,
    hashing: Hashing,
    metadata: Option<LineFile>,
    /// Names of the files of tensors.
    files: Vec<String>,
}

impl FsSlot {
    pub(crate) fn new(
        parent: Arc<Folder>,
        folder: Folder,
        name: String,
        location: String,
        formats: Formats,
        hashing: Hashing,
    ) -> FsSlot {
        FsSlot { parent, folder, name, location, formats, hashing, metadata: None, files: Vec::new() }
    }
}

impl DumpSlot for FsSlot {
    fn location(&self) -> &str {
        &self.location
    }

    fn put<'a>(
        &mut self,
        group: Group,
        tensors: &'a TensorGroup<'a>,
        plan: &FilePlan,
    ) -> Result<WrittenFile, SinkError> {
        let name = group.file_name(plan.format);
        let format = self.formats.of(plan)?;
        // Without a hash of the file, two looks at its tensors could not be compared.
        let may_change = tensors.may_change();
        let hashing = match self.hashing {
            Hashing::Off if may_change => Hashing::Xxh3,
            hashing => hashing,
        };
        let encode = &mut |out: &mut dyn Write| format.encode(tensors, out);
        let (bytes, hash) = staged::put(&self.folder, &name, Some(plan.bytes), hashing, encode)?;
        self.files.push(name);
        // Memory that cannot be read again has changed too.
        let is_unstable = may_change && !staged::hash_of(hashing, encode).is_ok_and(|again| again == hash);
        let hash = hash.filter(|_| self.hashing != Hashing::Off);
        Ok(WrittenFile { bytes, hash, is_unstable })
    }

    fn append(&mut self, line: &Line) -> Result<u64, SinkError> {
        let metadata = match &self.metadata {
            Some(metadata) => metadata,
            None => {
                let file = self.folder.create_appended(METADATA_FILE)?;
                self.metadata.insert(LineFile::new(file, self.folder.durability()))
            }
        };
        metadata.append(line)
    }

    fn into_captured(self: Box<Self>) -> Box<dyn CapturedSlot> {
        let FsSlot { parent: session, name, location, formats, hashing, .. } = *self;
        Box::new(FsCaptured::new(session, name, location, formats, hashing))
    }

    fn discard(self: Box<Self>) -> Result<(), SinkError> {
        // The lines first: without them, what is left after a failure or a loss of power looks like no call.
        let lines = match &self.metadata {
            Some(_) => self.folder.remove_lines(METADATA_FILE),
            None => Ok(()),
        };
        let files = self.files.iter().map(|file| self.folder.remove_file(file));
        // Each is tried, whatever became of the one before.
        let files = files.fold(Ok(()), Result::and);
        let folder = self.parent.remove_folder(&self.name);
        lines.and(files).and(folder)
    }
}
