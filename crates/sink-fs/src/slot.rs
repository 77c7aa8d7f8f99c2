//! The folder of one call while it is recorded.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use callbox_core::{DumpSlot, FilePlan, FormatError, Group, Line, SinkError, TensorGroup};

use crate::disk::{DiskFile, Folder};
use crate::folder::METADATA_FILE;
use crate::formats::Formats;
use crate::line_file::LineFile;

/// Smaller pieces of a file are gathered until they are this much; larger ones are written as they are.
const GATHERED_BYTES: u64 = 64 << 10;
/// From here on it is faster to ask for a file's blocks before they are written.
const ALLOCATED_BYTES: u64 = 1 << 20;

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

    fn write_and_publish(
        &self,
        temporary: &str,
        name: &str,
        tensors: &TensorGroup<'_>,
        plan: &FilePlan,
    ) -> Result<(), SinkError> {
        let file = self.folder.create_file(temporary)?;
        let published =
            self.write(&file, tensors, plan).and_then(|()| self.folder.publish(file, temporary, name));
        if published.is_err() {
            // The error at hand says more than one of removing would.
            self.folder.remove_file(temporary).ok();
        }
        published
    }

    fn write(&self, file: &DiskFile, tensors: &TensorGroup<'_>, plan: &FilePlan) -> Result<(), SinkError> {
        let format = self.formats.of(plan)?;
        if plan.bytes >= ALLOCATED_BYTES {
            file.allocate(plan.bytes)?;
        }
        let write_error = |error| file.error("write", error);
        let mut out = BufWriter::with_capacity(
            plan.bytes.min(GATHERED_BYTES) as usize,
            PlannedFile { file, left: plan.bytes },
        );
        format.encode(tensors, &mut out).map_err(|error| match error {
            FormatError::Write(error) => write_error(error),
            other => SinkError::Format(other),
        })?;
        out.flush().map_err(write_error)?;
        match out.get_ref().left {
            0 => Ok(()),
            left => Err(write_error(io::Error::other(format!(
                "{} bytes were planned, {left} of them did not come",
                plan.bytes
            )))),
        }
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
        // A reader takes names with a leading dot for nobody's.
        let temporary = format!(".{name}.tmp");
        self.write_and_publish(&temporary, &name, tensors, plan)?;
        self.files.push(name);
        Ok(plan.bytes)
    }

    fn append(&mut self, line: &Line) -> Result<u64, SinkError> {
        let metadata = match &mut self.metadata {
            Some(metadata) => metadata,
            none => {
                let file = self.folder.create_appended(METADATA_FILE)?;
                self.files.push(METADATA_FILE.to_owned());
                none.insert(LineFile::new(file, self.folder.durability()))
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

/// A file that takes the bytes that were planned and none beyond: the budget was asked for these.
struct PlannedFile<'a> {
    file: &'a DiskFile,
    left: u64,
}

impl Write for PlannedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("more bytes came than were planned"));
        }
        let written = self.file.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
