//! A folder that a recorder writes, as a sink of dumps.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callbox_core::{
    CallRecord, DumpSink, DumpSlot, FilePlan, Line, PerProcess, SinkError, SlotName, TensorGroup,
    TensorSerializer, UsageCounter, UsageStore,
};

use crate::disk::Folder;
use crate::durability::Durability;
use crate::encode;
use crate::files::{Files, RealFiles};
use crate::formats::Formats;
use crate::hash::Hashing;
use crate::index::SESSION_FILE;
use crate::limits_file::{LIMITS_FILE, LimitsFile};
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
    /// Which hash of each file its record has.
    pub hashing: Hashing,
}

/// Writes sessions: one folder a call, made new and never shared, and `session.jsonl` beside them.
///
/// Folders are readable by their owner alone, files too. Several sinks, in several processes, may write one
/// session; a process that is forked while others record goes on with the same sink. A session's folder that is
/// removed while it is written to is made again.
#[derive(Debug)]
pub struct FsSink {
    root: PathBuf,
    files: Arc<dyn Files>,
    formats: Formats,
    durability: Durability,
    hashing: Hashing,
    session: PerProcess<u32, OpenSession>,
}

/// What a process has open of a session. A child does not use its parent's: the two would share the lock of the
/// index, which then keeps neither from the other's lines.
#[derive(Debug, Default)]
struct OpenSession {
    folder: Mutex<Option<Arc<Folder>>>,
    index: Mutex<Option<Arc<LineFile>>>,
    limits: Mutex<Option<Arc<LimitsFile>>>,
}

impl FsSink {
    /// Keeps the options; nothing is read or written before the first call.
    pub fn new(options: SinkOptions) -> FsSink {
        FsSink::on(Arc::new(RealFiles), options)
    }

    /// As [`FsSink::new`], on another file system than that of the operating system.
    pub fn on(files: Arc<dyn Files>, options: SinkOptions) -> FsSink {
        FsSink {
            root: normalised(&options.root),
            files,
            formats: Formats { primary: options.format, fallback: options.fallback },
            durability: options.durability,
            hashing: options.hashing,
            session: PerProcess::new(),
        }
    }

    /// Returns what the present process has open.
    fn open_session(&self) -> &OpenSession {
        self.session.get(&std::process::id(), OpenSession::default)
    }

    fn folder(&self) -> Result<Arc<Folder>, SinkError> {
        let mut held = locked(&self.open_session().folder);
        let folder = match &*held {
            Some(folder) if !folder.is_removed() => folder,
            _ => held.insert(Arc::new(Folder::open_or_create(&self.files, &self.root, self.durability)?)),
        };
        Ok(folder.clone())
    }

    fn index(&self) -> Result<Arc<LineFile>, SinkError> {
        let mut held = locked(&self.open_session().index);
        let index = match &*held {
            Some(index) if !index.is_removed() => index,
            _ => {
                let file = self.folder()?.open_appended(SESSION_FILE)?;
                held.insert(Arc::new(LineFile::new(file, self.durability)))
            }
        };
        Ok(index.clone())
    }
}

impl DumpSink for FsSink {
    fn plan<'a>(&self, tensors: &'a TensorGroup<'a>) -> Result<FilePlan, SinkError> {
        let plan = self.formats.plan(tensors)?;
        Ok(FilePlan { hash: self.hashing.planned(), ..plan })
    }

    fn open(&self, name: &SlotName) -> Result<Box<dyn DumpSlot>, SinkError> {
        let session = self.folder()?;
        session.remove_leftovers();
        let mut taken = 0;
        let (folder, name) = loop {
            let name = place_name(name, taken);
            match session.create_folder(&name)? {
                Some(folder) => break (folder, name),
                None => taken += 1,
            }
        };
        let location = location(&self.root, &name);
        Ok(Box::new(FsSlot::new(session, folder, name, location, self.formats.clone(), self.hashing)))
    }

    fn encode(&self, record: &CallRecord) -> Result<Line, SinkError> {
        Ok(match self.hashing {
            Hashing::Off => encode::line(record),
            Hashing::Xxh3 | Hashing::Blake3 => encode::sealed_line(record),
        })
    }

    fn log(&self, line: &Line) -> Result<u64, SinkError> {
        self.index()?.append(line).inspect_err(|_| {
            // It may take no more lines: the next one opens it anew.
            *locked(&self.open_session().index) = None;
        })
    }

    /// Returns what an ordinary user can still write in the session's folder, which is made where it is missing.
    fn free_bytes(&self) -> Result<Option<u64>, SinkError> {
        self.folder()?.free_bytes().map(Some)
    }
}

/// All processes that write one session count together, in `session.limits`.
impl UsageStore for FsSink {
    fn counter(&self) -> Result<Arc<dyn UsageCounter>, SinkError> {
        let session = self.folder()?;
        // Where others used the limits up, this process may open no place any more.
        session.remove_leftovers();
        let mut held = locked(&self.open_session().limits);
        let limits = match &*held {
            Some(limits) if !limits.is_removed() => limits,
            _ => {
                let file = session.open_places(LIMITS_FILE)?;
                held.insert(Arc::new(LimitsFile::new(file, self.durability)))
            }
        };
        Ok(limits.clone())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic may leave behind here is an open file, or none.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
