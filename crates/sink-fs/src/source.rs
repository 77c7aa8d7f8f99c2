//! A folder that a recorder wrote, as a source of recorded calls.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{
    DumpSource, DumpedCall, FormatError, Group, LoadedRecord, Session, SlotName, SourceError, TensorMap,
    TensorSerializer,
};

use crate::folder::METADATA_FILE;
use crate::index::SESSION_FILE;
use crate::json::Json;
use crate::mapped;
use crate::metadata::{differences, read_metadata};
use crate::open::Root;
use crate::pool::BufferPool;
use crate::session::{is_call_folder, list_call, list_session};

/// How files of tensors are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Into memory, or as memory.
    pub mode: ReadMode,
}

/// Two ways to get at a file's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// Reads whole files into buffers that are used again.
    #[default]
    Buffered,
    /// Maps files. Faster where only parts are looked at; a file that another process cuts short meanwhile ends
    /// this process with SIGBUS.
    Mapped,
}

/// A session folder, or the folder of one call, written by FlashInfer or by callbox's recorder.
///
/// Nothing outside the folder is read, symbolic links inside it are not followed, and nothing is written.
#[derive(Debug)]
pub struct FsSource {
    root: Root,
    shape: Shape,
    formats: Vec<Arc<dyn TensorSerializer>>,
    options: ReadOptions,
    pool: BufferPool,
}

/// What the folder is.
#[derive(Debug)]
enum Shape {
    Session,
    /// One call, by its folder's name.
    Call(String),
}

impl FsSource {
    /// Opens a folder that holds `session.jsonl` or call folders, or that is the folder of one call: also that
    /// of one flush of a call that was captured into a CUDA graph.
    ///
    /// Files of tensors are read by the format whose extension they have.
    pub fn open(
        path: &Path,
        formats: Vec<Arc<dyn TensorSerializer>>,
        options: ReadOptions,
    ) -> Result<FsSource, SourceError> {
        let root = Root::open(path)?;
        let shape = shape(&root, path)?;
        Ok(FsSource {
            root,
            shape,
            formats,
            options,
            pool: BufferPool::default(),
        })
    }

    /// Reads the last whole record of a call as it was written, with every key.
    pub fn metadata_json(&self, call: &DumpedCall) -> Result<Json, SourceError> {
        Ok(read_metadata(&self.root, &self.relative(call))?.json)
    }

    /// Returns where a call's folder is below the root.
    fn relative(&self, call: &DumpedCall) -> PathBuf {
        match &self.shape {
            Shape::Session => PathBuf::from(&call.folder),
            Shape::Call(_) => PathBuf::new(),
        }
    }

    /// Chooses between files of one group in several formats: the record names the format that counts.
    fn recorded_format<'a>(
        &self,
        call: &DumpedCall,
        files: Vec<(&'a dyn TensorSerializer, PathBuf, File)>,
    ) -> Result<(&'a dyn TensorSerializer, PathBuf, File), SourceError> {
        let record = read_metadata(&self.root, &self.relative(call))?.record;
        let names: Vec<_> = files
            .iter()
            .map(|(format, ..)| format!("`{}`", format.name()))
            .collect();
        let path = self.root.path_of(&self.relative(call));
        let mut files = files.into_iter();
        files
            .find(|(format, ..)| format.name() == record.tensor_format)
            .ok_or_else(|| {
                let reason = format!(
                    "tensor_format is `{}`, the files are {}",
                    record.tensor_format,
                    names.join(", ")
                );
                SourceError::Format {
                    path,
                    source: FormatError::Unsupported(reason),
                }
            })
    }

    fn decode(
        &self,
        format: &dyn TensorSerializer,
        relative: &Path,
        file: File,
    ) -> Result<TensorMap, SourceError> {
        let read_error = |source| self.root.read_error(relative, source);
        let format_error = |source| SourceError::Format {
            path: self.root.path_of(relative),
            source,
        };
        let len = file.metadata().map_err(read_error)?.len();
        if len == 0 {
            return Err(format_error(FormatError::Truncated(
                "the file is empty".to_owned(),
            )));
        }
        let bytes = match self.options.mode {
            ReadMode::Buffered => self.pool.read(file, len),
            ReadMode::Mapped => mapped::map(&file),
        };
        format.decode(bytes.map_err(read_error)?).map_err(format_error)
    }
}

impl DumpSource for FsSource {
    fn calls(&self) -> Result<Session, SourceError> {
        match &self.shape {
            Shape::Session => list_session(&self.root),
            Shape::Call(name) => Ok(list_call(&self.root, name)),
        }
    }

    fn record(&self, call: &DumpedCall) -> Result<LoadedRecord, SourceError> {
        let relative = self.relative(call);
        let mut metadata = read_metadata(&self.root, &relative)?;
        metadata
            .findings
            .extend(differences(call, &metadata.record, &relative));
        Ok(LoadedRecord {
            record: metadata.record,
            findings: metadata.findings,
        })
    }

    fn load(&self, call: &DumpedCall, group: Group) -> Result<Option<TensorMap>, SourceError> {
        let mut files = Vec::new();
        for format in &self.formats {
            let relative = self
                .relative(call)
                .join(format!("{}.{}", group.stem(), format.extension()));
            if let Some(file) = self.root.file(&relative)? {
                files.push((&**format, relative, file));
            }
        }
        let (format, relative, file) = match files.len() {
            0 => return Ok(None),
            1 => files.remove(0),
            _ => self.recorded_format(call, files)?,
        };
        self.decode(format, &relative, file).map(Some)
    }
}

fn shape(root: &Root, path: &Path) -> Result<Shape, SourceError> {
    if root.exists(Path::new(SESSION_FILE)) {
        return Ok(Shape::Session);
    }
    // A path such as `.` has no name of its own.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = real
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let entries = root.list(Path::new(""))?.unwrap_or_default();
    let has = |wanted: &dyn Fn(&str) -> bool| {
        entries
            .iter()
            .any(|entry| entry.name.as_deref().is_some_and(wanted))
    };
    let is_of_a_call = |name: &str| {
        let stem = name.split('.').next();
        name == METADATA_FILE || Group::ALL.iter().any(|group| stem == Some(group.stem()))
    };
    if has(&is_of_a_call) || SlotName::parse(&name).is_some() {
        return Ok(Shape::Call(name));
    }
    let mut names = entries
        .iter()
        .filter_map(|entry| Some((entry.name.as_deref()?, entry.kind)));
    if names.any(|(name, kind)| is_call_folder(root, name, kind)) {
        return Ok(Shape::Session);
    }
    Err(SourceError::NotASession(path.to_owned()))
}
