//! The file system of the operating system, which kills the process at the operation that it is told.

use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callbox_sink_fs::files::{FileFacts, Files, OpenFile, OpenFolder, Opening, RealFiles};
use rustix::process::{Signal, getpid, kill_process};

/// When the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The operation was not begun.
    Before,
    /// A write came to its half.
    Halfway,
    /// The operation is done.
    After,
}

/// Reads `before`, `halfway` and `after`.
impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        match text {
            "before" => Ok(Moment::Before),
            "halfway" => Ok(Moment::Halfway),
            "after" => Ok(Moment::After),
            other => Err(format!("there is no moment `{other}`")),
        }
    }
}

/// Where the process ends.
#[derive(Debug)]
struct Doom {
    /// Number of the operation, from 1; 0: it goes on, and each operation is told on standard output.
    at: usize,
    moment: Moment,
    done: AtomicUsize,
}

/// A file system that kills the process at one operation.
#[derive(Clone, Debug)]
pub struct DeadlyFiles(Arc<Doom>);

#[derive(Debug)]
struct DeadlyFolder {
    doom: Arc<Doom>,
    folder: Box<dyn OpenFolder>,
}

#[derive(Debug)]
struct DeadlyFile {
    doom: Arc<Doom>,
    name: String,
    file: Box<dyn OpenFile>,
}

impl DeadlyFiles {
    /// Kills the process at the operation of this number, from 1; with 0 each operation is told on standard output.
    pub fn new(at: usize, moment: Moment) -> DeadlyFiles {
        DeadlyFiles(Arc::new(Doom { at, moment, done: AtomicUsize::new(0) }))
    }
}

impl Doom {
    fn act<T>(&self, act: &str, what: &str, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let is_last = self.is_next_the_last(act, what);
        if is_last && self.moment == Moment::Before {
            die();
        }
        let answer = operation();
        if is_last && self.moment == Moment::After {
            die();
        }
        answer
    }

    /// As [`Doom::act`], for an operation that may also be interrupted in its middle.
    fn write(
        &self,
        what: &str,
        bytes: &[u8],
        operation: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let is_last = self.is_next_the_last("write", what);
        if is_last && self.moment == Moment::Before {
            die();
        }
        let until = if is_last && self.moment == Moment::Halfway { bytes.len() / 2 } else { bytes.len() };
        let written = operation(&bytes[..until]);
        if is_last {
            die();
        }
        written
    }

    fn is_next_the_last(&self, act: &str, what: &str) -> bool {
        if self.at == 0 {
            let line = format!("operation: {act} {what}\n");
            io::stdout().write_all(line.as_bytes()).ok();
        }
        self.done.fetch_add(1, Ordering::Relaxed) + 1 == self.at
    }

    fn folder(self: &Arc<Doom>, folder: Box<dyn OpenFolder>) -> Box<dyn OpenFolder> {
        Box::new(DeadlyFolder { doom: self.clone(), folder })
    }
}

/// Ends the process as the system does when it has no memory left: nothing of it runs any more.
fn die() -> ! {
    loop {
        kill_process(getpid(), Signal::KILL).ok();
    }
}

impl Files for DeadlyFiles {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.0.act("make", "a folder on the way", || RealFiles.create_folder(path))
    }

    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn OpenFolder>> {
        let folder = self.0.act("open", "the session", || RealFiles.open_folder(path))?;
        Ok(self.0.folder(folder))
    }
}

impl OpenFolder for DeadlyFolder {
    fn create_folder(&self, name: &str) -> io::Result<()> {
        self.doom.act("make", "the call's folder", || self.folder.create_folder(name))
    }

    fn open_folder(&self, name: &str) -> io::Result<Box<dyn OpenFolder>> {
        let folder = self.doom.act("open", "the call's folder", || self.folder.open_folder(name))?;
        Ok(self.doom.folder(folder))
    }

    fn open_file(&self, name: &str, how: Opening) -> io::Result<Box<dyn OpenFile>> {
        let file = self.doom.act("open", name, || self.folder.open_file(name, how))?;
        Ok(Box::new(DeadlyFile { doom: self.doom.clone(), name: name.to_owned(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.doom.act("rename to", to, || self.folder.rename(from, to))
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.doom.act("remove", name, || self.folder.remove_file(name))
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.doom.act("remove", "the call's folder", || self.folder.remove_folder(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.doom.act("sync", "a folder", || self.folder.sync())
    }

    fn is_removed(&self) -> io::Result<bool> {
        self.doom.act("look at", "a folder", || self.folder.is_removed())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.doom.act("look at", "the free space", || self.folder.free_bytes())
    }
}

impl OpenFile for DeadlyFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.doom.write(&self.name, bytes, |bytes| self.file.write(bytes))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.doom.write(&self.name, bytes, |bytes| self.file.write_at(bytes, offset))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.doom.act("read", &self.name, || self.file.read_at(bytes, offset))
    }

    fn facts(&self) -> io::Result<FileFacts> {
        self.doom.act("look at", &self.name, || self.file.facts())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.doom.act("cut", &self.name, || self.file.truncate(bytes))
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.doom.act("allocate", &self.name, || self.file.allocate(bytes))
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.doom.act("lock", &self.name, || self.file.try_lock())
    }

    fn unlock(&self) -> io::Result<()> {
        self.doom.act("unlock", &self.name, || self.file.unlock())
    }

    fn sync(&self) -> io::Result<()> {
        self.doom.act("sync", &self.name, || self.file.sync())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        let DeadlyFile { doom, name, file } = *self;
        doom.act("close", &name, || file.close())
    }
}
