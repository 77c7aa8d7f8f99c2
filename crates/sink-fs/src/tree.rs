//! The files of a session as they are: for those who look at files, not at calls.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use callbox_core::{Bytes, FormatError, SourceError, TensorMap, TensorSerializer};

use crate::mapped;
use crate::open::{Entry, Root};
use crate::pool::BufferPool;
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
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let format = self.format_of(&name).ok_or_else(|| {
            let source = FormatError::Unsupported("no format has this extension".to_owned());
            SourceError::Format { path: self.root.path_of(path), source }
        })?;
        self.decode(format, path, file).map(Some)
    }

    pub(crate) fn decode(
        &self,
        format: &dyn TensorSerializer,
        relative: &Path,
        file: File,
    ) -> Result<TensorMap, SourceError> {
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
        let bytes = self.read(file, len).map_err(read_error)?;
        format.decode(bytes).map_err(format_error)
    }

    fn read(&self, file: File, len: u64) -> std::io::Result<Bytes> {
        match self.options.mode {
            ReadMode::Buffered => self.pool.read(file, len),
            ReadMode::Mapped => mapped::map(&file),
        }
    }
}
