//! Which operation of a simulated disk fails, and how.

use std::io;

use rustix::io::Errno;

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Makes a folder.
    CreateFolder,
    /// Opens a folder.
    OpenFolder,
    /// Opens a file, and makes it where it is missing.
    OpenFile,
    /// Writes to a file.
    Write,
    /// Reads from a file.
    Read,
    /// Looks at a file or folder.
    Look,
    /// Cuts a file.
    Cut,
    /// Reserves space.
    Allocate,
    /// Asks for a lock.
    Lock,
    /// Syncs a file.
    SyncFile,
    /// Syncs a folder.
    SyncFolder,
    /// Closes a file.
    Close,
    /// Gives a file another name.
    Rename,
    /// Removes a file or folder.
    Remove,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// With an error of the operating system; nothing was done.
    Error(Errno),
    /// A write stops after one byte, or in the middle.
    ShortWrite {
        /// After one byte.
        at_once: bool,
    },
    /// A sync fails; what it was to keep may be lost.
    Sync,
    /// Somebody else has the lock.
    LockHeld,
}

impl Failure {
    /// The failures to try at every operation, in words.
    pub const ALL: [(&'static str, Failure); 12] = [
        ("ENOSPC", Failure::Error(Errno::NOSPC)),
        ("EDQUOT", Failure::Error(Errno::DQUOT)),
        ("EIO", Failure::Error(Errno::IO)),
        ("EROFS", Failure::Error(Errno::ROFS)),
        ("EACCES", Failure::Error(Errno::ACCESS)),
        ("EMFILE", Failure::Error(Errno::MFILE)),
        ("ENAMETOOLONG", Failure::Error(Errno::NAMETOOLONG)),
        ("EINTR", Failure::Error(Errno::INTR)),
        ("short write of one byte", Failure::ShortWrite { at_once: true }),
        ("short write of half", Failure::ShortWrite { at_once: false }),
        ("failed sync", Failure::Sync),
        ("lock held", Failure::LockHeld),
    ];

    /// Tells whether an operation can fail so.
    pub fn concerns(self, act: Act) -> bool {
        match self {
            // A lock is given back and a closed descriptor is gone in any case.
            Failure::Error(_) => true,
            Failure::ShortWrite { .. } => act == Act::Write,
            Failure::Sync => matches!(act, Act::SyncFile | Act::SyncFolder),
            Failure::LockHeld => act == Act::Lock,
        }
    }
}

/// The failures that are to come.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Number of the first operation that fails, from 0.
    pub at: usize,
    /// How.
    pub failure: Failure,
    /// So does each later one.
    pub for_good: bool,
}

impl Script {
    /// Returns how an operation fails, if it does.
    pub(super) fn failure(&self, number: usize, act: Act) -> Option<Failure> {
        let is_due = if self.for_good { number >= self.at } else { number == self.at };
        (is_due && self.failure.concerns(act)).then_some(self.failure)
    }
}

pub(super) fn error(failure: Failure) -> io::Error {
    match failure {
        Failure::Error(errno) => errno.into(),
        Failure::Sync => Errno::IO.into(),
        Failure::ShortWrite { .. } | Failure::LockHeld => io::Error::other("this is no error"),
    }
}
