//! The file seam: what writing a session asks of a file system, and nothing else.
//!
//! [`RealFiles`] is the one that applications use. A simulated one, which forgets what was not synced and fails when
//! it is told to, stands in for it in tests: that is how every crash and every error of every operation is tried.

mod real;
mod size_limit;

use std::fmt::Debug;
use std::io;
use std::path::Path;

pub use self::real::RealFiles;

/// A file system.
pub trait Files: Debug + Send + Sync {
    /// Makes a folder, readable by its owner alone. Its parent must be there.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Opens a folder by the user's own path, which may lead through symbolic links.
    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn OpenFolder>>;
}

/// A folder that is held open. Names have no slash, and no symbolic link is followed.
pub trait OpenFolder: Debug + Send + Sync {
    /// Makes a folder, readable by its owner alone; [`io::ErrorKind::AlreadyExists`] where the name is taken.
    fn create_folder(&self, name: &str) -> io::Result<()>;
    /// Opens a folder inside this one.
    fn open_folder(&self, name: &str) -> io::Result<Box<dyn OpenFolder>>;
    /// Opens a file, for writing as a rule.
    fn open_file(&self, name: &str, how: Opening) -> io::Result<Box<dyn OpenFile>>;
    /// Gives a file another name, in the place of what has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, name: &str) -> io::Result<()>;
    /// Removes a folder, which must be empty.
    fn remove_folder(&self, name: &str) -> io::Result<()>;
    /// Makes the names in this folder survive a crash of the system.
    fn sync(&self) -> io::Result<()>;
    /// Tells whether the folder was removed since it was opened.
    fn is_removed(&self) -> io::Result<bool>;
    /// Returns the bytes that an ordinary user can still write.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// How a file is opened. It is readable by its owner alone where it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The file is made; nothing may have its name.
    New,
    /// As [`Opening::New`]; what is written goes to its end.
    NewLines,
    /// The file is made where it is missing; what is written goes to its end.
    Lines,
    /// The file is made where it is missing; parts of it are written again in their places.
    Places,
    /// The file must be there, and is read.
    Reading,
}

/// A file that is held open.
pub trait OpenFile: Debug + Send + Sync {
    /// Writes bytes by one operation; returns how many there was room for.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes bytes to a place by one operation; returns how many there was room for.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Reads from a place on; returns how many bytes there were.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Looks at the file.
    fn facts(&self) -> io::Result<FileFacts>;
    /// Cuts the file.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Reserves space; `Ok` too where the file system cannot.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Takes the lock that writers of one file take in turn; `false` while somebody else has it. It is one of whoever
    /// opened the file: threads that share it, and forked children, do not keep each other out.
    fn try_lock(&self) -> io::Result<bool>;
    /// Gives the lock back.
    fn unlock(&self) -> io::Result<()>;
    /// Makes the contents survive a crash of the system.
    fn sync(&self) -> io::Result<()>;
    /// Closes the file: on a network file system this is where bytes are sent, and where a full disk may show first.
    fn close(self: Box<Self>) -> io::Result<()>;
}

/// What is known of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Size in bytes.
    pub bytes: u64,
    /// It is a regular file: no FIFO, no device.
    pub is_regular: bool,
    /// It was removed since it was opened.
    pub is_removed: bool,
}
