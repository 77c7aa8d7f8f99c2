//! The folder of one call while it is recorded, or of one flush of a captured one.

use std::io::{self, Write};
use std::sync::Arc;

use callbox_core::{
    DumpSlot, FilePlan, FormatError, Group, Line, RecordedFile, SinkError, TensorGroup, WrittenFile,
};

use crate::disk::{DiskFile, Folder};
use crate::flushes::{FLUSHES_FOLDER, flush_folder};
use crate::folder::METADATA_FILE;
use crate::formats::Formats;
use crate::hash::{Hashing, PIECE};
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
    /// Open until a line fails: it may take no more lines then, and is opened anew.
    metadata: Option<LineFile>,
    has_lines: bool,
    /// Names of the files of tensors.
    files: Vec<String>,
    /// The folder of the call's flushes.
    flushes: Option<Arc<Folder>>,
    /// The folder of the flush that was opened last.
    last_flush: Option<Folder>,
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
        FsSlot {
            parent,
            folder,
            name,
            location,
            formats,
            hashing,
            metadata: None,
            has_lines: false,
            files: Vec::new(),
            flushes: None,
            last_flush: None,
        }
    }

    fn flushes(&mut self) -> Result<Arc<Folder>, SinkError> {
        let flushes = match self.flushes.take() {
            Some(flushes) => flushes,
            None => Arc::new(new_folder(&self.folder, FLUSHES_FOLDER)?),
        };
        Ok(self.flushes.insert(flushes).clone())
    }
}

/// Makes a folder in one that nobody else writes to.
fn new_folder(parent: &Folder, name: &str) -> Result<Folder, SinkError> {
    let folder = parent.create_folder(name)?;
    folder.ok_or_else(|| {
        parent.error("create a folder in", io::Error::other(format!("{name} is there already")))
    })
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
        let metadata = match self.metadata.take() {
            Some(metadata) => metadata,
            None => {
                let file = match self.has_lines {
                    false => self.folder.create_appended(METADATA_FILE)?,
                    true => self.folder.open_appended(METADATA_FILE)?,
                };
                self.has_lines = true;
                LineFile::new(file, self.folder.durability())
            }
        };
        let written = metadata.append(line)?;
        self.metadata = Some(metadata);
        Ok(written)
    }

    fn open_flush(&mut self, index: u64) -> Result<Box<dyn DumpSlot>, SinkError> {
        self.folder.remove_leftovers();
        let (flushes, name) = (self.flushes()?, flush_folder(index));
        let folder = new_folder(&flushes, &name)?;
        self.last_flush = Some(folder.clone());
        let location = format!("{}/{FLUSHES_FOLDER}/{name}", self.location);
        Ok(Box::new(FsSlot::new(flushes, folder, name, location, self.formats.clone(), self.hashing)))
    }

    fn take_over(&mut self, file: &RecordedFile) -> Result<u64, SinkError> {
        let nothing = || self.folder.error("take over a file in", io::Error::other("nothing was flushed"));
        let written = self.last_flush.as_ref().ok_or_else(nothing)?.open_written(&file.name)?;
        let hashing = if file.hash.is_some() { self.hashing } else { Hashing::Off };
        let copy = &mut |out: &mut dyn Write| copy(&written, out);
        let (bytes, hash) = staged::put(&self.folder, &file.name, Some(file.bytes), hashing, copy)?;
        if hash != file.hash {
            self.folder.remove_file(&file.name)?;
            return Err(written.error("read", io::Error::other("it is not what was written")));
        }
        Ok(bytes)
    }

    fn discard(self: Box<Self>) -> Result<(), SinkError> {
        // The lines first: without them, what is left after a failure or a loss of power looks like no call.
        let lines = match self.has_lines {
            true => self.folder.remove_lines(METADATA_FILE),
            false => Ok(()),
        };
        let files = self.files.iter().map(|file| self.folder.remove_file(file));
        // Each is tried, whatever became of the one before.
        let files = files.fold(Ok(()), Result::and);
        let folder = self.parent.remove_folder(&self.name);
        lines.and(files).and(folder)
    }
}

/// Copies a file from its beginning.
fn copy(from: &DiskFile, out: &mut dyn Write) -> Result<(), FormatError> {
    let (mut buffer, mut offset) = (vec![0; PIECE], 0);
    loop {
        let len =
            from.read_at(&mut buffer, offset).map_err(|error| FormatError::Write(io::Error::other(error)))?;
        if len == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..len]).map_err(FormatError::Write)?;
        offset += len as u64;
    }
}
