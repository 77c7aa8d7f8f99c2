//! A folder that a recorder writes, as a sink of dumps.

use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callbox_core::{
    CallRecord, DumpSink, DumpSlot, FilePlan, Line, SinkError, SlotName, TensorGroup, TensorSerializer,
};

use crate::disk::Folder;
use crate::durability::Durability;
use crate::encode;
use crate::formats::Formats;
use crate::index::SESSION_FILE;
use crate::line_file::LineFile;
use crate::location::{location, normalised};
use crate::place_name::place_name;
use crate::slot::FsSlot;

/// Where dumps go, and how they are written.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// The session's folder. It and its parents are made when the first call is recorded; a relative path stays
    /// relative in the records.
    pub root: PathBuf,
    /// The format of the files of tensors.
    pub format: Arc<dyn TensorSerializer>,
    /// The format of those files that have a tensor which the other cannot hold; without one, such a call is not
    /// recorded.
    pub fallback: Option<Arc<dyn TensorSerializer>>,
    /// Which crash a dump survives.
    pub durability: Durability,
}

/// Writes sessions: one folder a call, made new and never shared, and `session.jsonl` beside them.
///
/// Folders are readable by their owner alone, files too. Several sinks, in several processes, may write one
/// session. A session's folder that is removed while it is written to is made again.
#[derive(Debug)]
pub struct FsSink {
    root: PathBuf,
    formats: Formats,
    durability: Durability,
    folder: Mutex<Option<Arc<Folder>>>,
    log: Mutex<Option<SessionLog>>,
}

/// The session's index, open for lines.
#[derive(Debug)]
struct SessionLog {
    lines: LineFile,
    /// The process that opened it. A child that was forked shares its parent's lock, which then keeps neither from
    /// the other's lines: it opens the file anew.
    process: u32,
}

impl FsSink {
    /// Keeps the options; nothing is read or written before the first call.
    pub fn new(options: SinkOptions) -> FsSink {
        FsSink {
            root: normalised(&options.root),
            formats: Formats { primary: options.format, fallback: options.fallback },
            durability: options.durability,
            folder: Mutex::new(None),
            log: Mutex::new(None),
        }
    }

    fn folder(&self) -> Result<Arc<Folder>, SinkError> {
        let mut held = locked(&self.folder);
        let folder = match &*held {
            Some(folder) if !folder.is_removed() => folder,
            _ => held.insert(Arc::new(Folder::open_or_create(&self.root, self.durability)?)),
        };
        Ok(folder.clone())
    }

    fn open_log(&self) -> Result<SessionLog, SinkError> {
        let file = self.folder()?.open_appended(SESSION_FILE)?;
        Ok(SessionLog { lines: LineFile::new(file, self.durability), process: process::id() })
    }
}

impl DumpSink for FsSink {
    fn plan<'a>(&self, tensors: &'a TensorGroup<'a>) -> Result<FilePlan, SinkError> {
        self.formats.plan(tensors)
    }

    fn open(&self, name: &SlotName) -> Result<Box<dyn DumpSlot>, SinkError> {
        let session = self.folder()?;
        let mut taken = 0;
        let (folder, name) = loop {
            let name = place_name(name, taken);
            match session.create_folder(&name)? {
                Some(folder) => break (folder, name),
                None => taken += 1,
            }
        };
        let location = location(&self.root, &name);
        Ok(Box::new(FsSlot::new(session, folder, name, location, self.formats.clone())))
    }

    fn encode(&self, record: &CallRecord) -> Result<Line, SinkError> {
        Ok(encode::line(record))
    }

    fn log(&self, line: &Line) -> Result<u64, SinkError> {
        let mut held = locked(&self.log);
        let log = match &mut *held {
            Some(log) if !log.is_stale() => log,
            stale => stale.insert(self.open_log()?),
        };
        log.lines.append(line)
    }
}

impl SessionLog {
    fn is_stale(&self) -> bool {
        self.process != process::id() || self.lines.is_removed()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic may leave behind here is an open file, or none.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
