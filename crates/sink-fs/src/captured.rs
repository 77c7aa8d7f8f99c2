//! The folder of a captured call between its flushes, and while one is written.

use std::io::{self, Write};
use std::sync::Arc;

use callbox_core::{
    CapturedSlot, DumpSlot, FilePlan, FlushSlot, FormatError, Group, Line, RecordedFile, SinkError,
    TensorGroup, WrittenFile,
};

use crate::disk::{DiskFile, Folder};
use crate::flushes::{FLUSHES_FOLDER, flush_folder};
use crate::folder::METADATA_FILE;
use crate::formats::Formats;
use crate::hash::{Hashing, PIECE};
use crate::line_file::LineFile;
use crate::slot::FsSlot;
use crate::staged;

/// A captured call's folder by its name. Nothing of it is open.
#[derive(Debug)]
pub(crate) struct FsCaptured {
    session: Arc<Folder>,
    name: String,
    location: String,
    formats: Formats,
    hashing: Hashing,
}

/// A flush while it is written.
#[derive(Debug)]
struct FsFlush {
    call: Folder,
    /// Opened when the first line comes.
    metadata: Option<LineFile>,
    /// The flush's folder, inside the call's, once more than in its slot: its files are read again.
    written: Folder,
    slot: Box<FsSlot>,
    hashing: Hashing,
}

impl FsCaptured {
    pub(crate) fn new(
        session: Arc<Folder>,
        name: String,
        location: String,
        formats: Formats,
        hashing: Hashing,
    ) -> FsCaptured {
        FsCaptured { session, name, location, formats, hashing }
    }
}

impl CapturedSlot for FsCaptured {
    fn flush_location(&self, index: u64) -> String {
        format!("{}/{FLUSHES_FOLDER}/{}", self.location, flush_folder(index))
    }

    fn open_flush(&mut self, index: u64) -> Result<Box<dyn FlushSlot>, SinkError> {
        self.session.remove_leftovers();
        let call = self.session.open_folder(&self.name)?;
        let flushes = match call.create_folder(FLUSHES_FOLDER)? {
            Some(flushes) => flushes,
            None => call.open_folder(FLUSHES_FOLDER)?,
        };
        let name = flush_folder(index);
        let taken =
            || flushes.error("create the next flush in", io::Error::from(io::ErrorKind::AlreadyExists));
        let folder = flushes.create_folder(&name)?.ok_or_else(taken)?;
        let location = self.flush_location(index);
        let (written, flushes) = (folder.clone(), Arc::new(flushes));
        let slot = FsSlot::new(flushes, folder, name, location, self.formats.clone(), self.hashing);
        let slot = Box::new(slot);
        Ok(Box::new(FsFlush { call, metadata: None, written, slot, hashing: self.hashing }))
    }
}

impl FlushSlot for FsFlush {
    fn put<'a>(
        &mut self,
        group: Group,
        tensors: &'a TensorGroup<'a>,
        plan: &FilePlan,
    ) -> Result<WrittenFile, SinkError> {
        self.slot.put(group, tensors, plan)
    }

    fn append(&mut self, line: &Line) -> Result<u64, SinkError> {
        self.slot.append(line)
    }

    /// Copies the file. A link would save that, and is not there on every file system.
    fn publish(&mut self, file: &RecordedFile) -> Result<u64, SinkError> {
        let written = self.written.open_written(&file.name)?;
        let hashing = if file.hash.is_some() { self.hashing } else { Hashing::Off };
        let copy = &mut |out: &mut dyn Write| copy(&written, out);
        let (bytes, hash) = staged::put(&self.call, &file.name, Some(file.bytes), hashing, copy)?;
        if hash != file.hash {
            self.call.remove_file(&file.name)?;
            return Err(written.error("read", io::Error::other("it is not what was written")));
        }
        Ok(bytes)
    }

    fn append_to_call(&mut self, line: &Line) -> Result<u64, SinkError> {
        let metadata = match &self.metadata {
            Some(metadata) => metadata,
            None => {
                let file = self.call.open_appended(METADATA_FILE)?;
                self.metadata.insert(LineFile::new(file, self.call.durability()))
            }
        };
        metadata.append(line)
    }

    fn discard(self: Box<Self>) -> Result<(), SinkError> {
        self.slot.discard()
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
