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
    /// Names of the files that were made here and are still there.
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
                self.files.push(METADATA_FILE.to_owned());
                self.metadata.insert(LineFile::new(file, self.folder.durability()))
            }
        };
        metadata.append(line)
    }

    fn discard(self: Box<Self>) -> Result<(), SinkError> {
        for file in &self.files {
            self.folder.remove_file(file)?;
        }
        self.session.remove_folder(&self.name)
    }
}
