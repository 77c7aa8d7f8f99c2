//! The files of a session as they are: for those who look at files, not at calls.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use callbox_core::{
    Bytes, CallRecord, FileHash, FormatError, SourceError, TensorMap, TensorSerializer, planted,
};

use crate::hash::{Hasher, HashingReader};
use crate::mapped;
use crate::metadata::read_metadata;
use crate::open::{Entry, Root};
use crate::pool::BufferPool;
use crate::recorded::{RecordsCheck, check_records, recorded_file};
use crate::source::{ReadMode, ReadOptions};

/// What a format looks at first.
const HEAD_BYTES: usize = 512;
/// A larger file is looked at before it is read.
const WORTH_A_LOOK: u64 = 1 << 20;

/// The files below a folder. Paths are relative to it.
///
/// Nothing outside the folder is read, symbolic links inside it are not followed, only regular files are opened,
/// and nothing is written.
#[derive(Debug)]
pub struct FileTree {
    pub(crate) root: Root,
    pub(crate) formats: Vec<Arc<dyn TensorSerializer>>,
    options: ReadOptions,
    pool: BufferPool,
}

impl FileTree {
    /// Opens a folder, whatever is in it. It may be a symbolic link itself.
    pub fn open(
        path: &Path,
        formats: Vec<Arc<dyn TensorSerializer>>,
        options: ReadOptions,
    ) -> Result<FileTree, SourceError> {
        Ok(FileTree { root: Root::open(path)?, formats, options, pool: BufferPool::default() })
    }

    /// Lists a folder in no particular order; empty where there is none.
    pub fn entries(&self, folder: &Path) -> Result<Vec<Entry>, SourceError> {
        Ok(self.root.list(folder)?.unwrap_or_default())
    }

    /// Opens a file; `None` where there is none.
    pub fn file(&self, path: &Path) -> Result<Option<File>, SourceError> {
        self.root.file(path)
    }

    /// Reads a whole file; `None` where there is none.
    pub fn bytes(&self, path: &Path) -> Result<Option<Bytes>, SourceError> {
        let Some(file) = self.root.file(path)? else { return Ok(None) };
        let read = file.metadata().and_then(|metadata| self.read(file, metadata.len()));
        read.map(Some).map_err(|source| self.root.read_error(path, source))
    }

    /// Finds the format whose extension a file has.
    pub fn format_of(&self, name: &str) -> Option<&dyn TensorSerializer> {
        let (_, extension) = name.rsplit_once('.')?;
        self.formats.iter().map(AsRef::as_ref).find(|format| format.format().extension == extension)
    }

    /// Reads the tensors of a file by the format whose extension it has; `None` where there is none.
    pub fn tensors(&self, path: &Path) -> Result<Option<TensorMap>, SourceError> {
        let Some(file) = self.root.file(path)? else { return Ok(None) };
        let format = self.format_at(path)?;
        self.decode(format, path, file).map(|(tensors, _)| Some(tensors))
    }

    /// As [`FileTree::tensors`], and tells what came of the file's hash.
    pub fn checked_tensors(&self, path: &Path) -> Result<Option<(TensorMap, HashCheck)>, SourceError> {
        let Some(file) = self.root.file(path)? else { return Ok(None) };
        let format = self.format_at(path)?;
        self.decode(format, path, file).map(Some)
    }

    /// Reads every line of a file of records; `None` where there is no such file.
    pub fn check_records(&self, path: &Path) -> Result<Option<RecordsCheck>, SourceError> {
        let Some(file) = self.root.file(path)? else { return Ok(None) };
        Ok(Some(check_records(file, &path.to_string_lossy())))
    }

    /// Reads the last whole record of a folder: a call's, or a flush's.
    pub fn record(&self, folder: &Path) -> Result<CallRecord, SourceError> {
        read_metadata(&self.root, folder).map(|metadata| metadata.record)
    }

    fn format_at(&self, path: &Path) -> Result<&dyn TensorSerializer, SourceError> {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        self.format_of(&name).ok_or_else(|| {
            let source = FormatError::Unsupported("no format has this extension".to_owned());
            SourceError::Format { path: self.root.path_of(path), source }
        })
    }

    /// Reads a file, which has to be the one that the call's record tells of, where it tells.
    pub(crate) fn decode(
        &self,
        format: &dyn TensorSerializer,
        relative: &Path,
        file: File,
    ) -> Result<(TensorMap, HashCheck), SourceError> {
        let recorded = recorded_file(&self.root, relative)?;
        let not_as_written = |what, recorded, found| SourceError::NotAsWritten {
            path: self.root.path_of(relative),
            what,
            recorded,
            found,
        };
        let read_error = |source| self.root.read_error(relative, source);
        let format_error = |source| SourceError::Format { path: self.root.path_of(relative), source };
        let len = file.metadata().map_err(read_error)?.len();
        if len == 0 {
            return Err(format_error(FormatError::Truncated("the file is empty".to_owned())));
        }
        if len > WORTH_A_LOOK {
            let mut head = [0; HEAD_BYTES];
            file.read_exact_at(&mut head, 0).map_err(read_error)?;
            format.recognise(&head).map_err(format_error)?;
        }
        if let Some(recorded) = recorded.as_ref().filter(|recorded| recorded.bytes != len) {
            return Err(not_as_written("size", format!("{} bytes", recorded.bytes), format!("{len} bytes")));
        }
        let expected = recorded.and_then(|recorded| recorded.hash);
        let (bytes, found) = self.read_hashed(file, len, expected.as_ref()).map_err(read_error)?;
        // A format that finds the damage tells its place.
        let tensors = format.decode(bytes).map_err(format_error)?;
        let check = match (expected, found) {
            (None, _) => HashCheck::NotRecorded,
            (Some(_), Found::Mapped) => HashCheck::NotComputed,
            (Some(expected), Found::Unknown) => HashCheck::Unknown(expected.kind.into_owned()),
            (Some(expected), Found::Hash(found))
                if found == expected || planted::bug("hash_not_compared") =>
            {
                HashCheck::Agrees
            }
            (Some(expected), Found::Hash(found)) => {
                return Err(not_as_written("hash", expected.to_string(), found.to_string()));
            }
        };
        Ok((tensors, check))
    }

    fn read(&self, file: File, len: u64) -> io::Result<Bytes> {
        self.read_hashed(file, len, None).map(|(bytes, _)| bytes)
    }

    /// Reads a file, and computes the hash that is like the expected one, where there is one. A file that is mapped
    /// is not gone through for that: who maps wants to look at parts.
    fn read_hashed(&self, file: File, len: u64, expected: Option<&FileHash>) -> io::Result<(Bytes, Found)> {
        match self.options.mode {
            ReadMode::Buffered => {
                let mut reader = HashingReader { input: file, hasher: expected.and_then(Hasher::like) };
                let bytes = self.pool.read(&mut reader, len)?;
                let found = reader.hasher.map_or(Found::Unknown, |hasher| Found::Hash(hasher.finish()));
                Ok((bytes, found))
            }
            ReadMode::Mapped => Ok((mapped::map(&file)?, Found::Mapped)),
        }
    }
}

/// What reading a file found of its hash.
enum Found {
    Hash(FileHash),
    /// None was expected, or one that this version does not know.
    Unknown,
    Mapped,
}

/// What came of comparing a file with the hash in its call's record. One that differs is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashCheck {
    /// The bytes are those that were written.
    Agrees,
    /// The record has none: FlashInfer wrote it, or hashing was off.
    NotRecorded,
    /// This version does not know the function of this name.
    Unknown(String),
    /// The file was mapped.
    NotComputed,
}
