//! The folder of one call while it is recorded.

use std::sync::Arc;

use callbox_core::{DumpSlot, FilePlan, Group, Line, SinkError, TensorGroup};

use crate::disk::Folder;
use crate::folder::METADATA_FILE;
use crate::formats::Formats;
use crate::line_file::LineFile;
use crate::staged;

/// A call's folder. What is dropped without [`DumpSlot::discard`] stays, as after a crash.
#[derive(Debug)]
pub(crate) struct FsSlot {
    session: Arc<Folder>,
    folder: Folder,
    name: String,
    location: String,
    formats: Formats,
    metadata: Option<LineFile>,
    /// Names of the files of tensors.
    files: Vec<String>,
}

impl FsSlot {
    pub(crate) fn new(
        session: Arc<Folder>,
        folder: Folder,
        name: String,
        location: String,
        formats: Formats,
    ) -> FsSlot {
        FsSlot { session, folder, name, location, formats, metadata: None, files: Vec::new() }
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
    ) -> Result<u64, SinkError> {
        let name = format!("{}.{}", group.stem(), plan.format.extension);
        let format = self.formats.of(plan)?;
        let bytes =
            staged::put(&self.folder, &name, Some(plan.bytes), &mut |out| format.encode(tensors, out))?;
        self.files.push(name);
        Ok(bytes)
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

    fn discard(self: Box<Self>) -> Result<(), SinkError> {
        // The lines first: without them, what is left after a failure or a loss of power looks like no call.
        let lines = match &self.metadata {
            Some(_) => self.folder.remove_lines(METADATA_FILE),
            None => Ok(()),
        };
        let files = self.files.iter().map(|file| self.folder.remove_file(file));
        // Each is tried, whatever became of the one before.
        let files = files.fold(Ok(()), Result::and);
        let folder = self.session.remove_folder(&self.name);
        lines.and(files).and(folder)
    }
}
