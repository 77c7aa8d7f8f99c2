//! The file operations of recording, all of them; a rename or a sync that is forgotten is forgotten here.
//!
//! Everything happens inside a [`Folder`] that is held open, by names without a slash: nothing that is put in a
//! folder's place meanwhile, a symbolic link say, leads a write elsewhere.

use std::io;
use std::path::{Path, PathBuf};

use callbox_core::SinkError;
use callbox_core::error::chain;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::close::close;
use crate::durability::Durability;

/// Tensors of models and lines of arguments are nobody else's business.
const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A folder that files are written to.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
    durability: Durability,
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct DiskFile {
    path: PathBuf,
    descriptor: OwnedFd,
}

/// A file that nobody else who asks for the lock writes to.
#[derive(Debug)]
#[must_use = "the lock is held while this lives"]
pub(crate) struct Locked<'a>(&'a DiskFile);

impl Folder {
    /// Opens a folder by its path; it and its parents are made where they are missing. The path is the user's own
    /// and may lead through symbolic links.
    pub(crate) fn open_or_create(path: &Path, durability: Durability) -> Result<Folder, SinkError> {
        let opened = match open_folder(path) {
            Err(Errno::NOENT) => {
                create_with_parents(path, durability)?;
                open_folder(path)
            }
            answer => answer,
        };
        let descriptor = opened.map_err(failed("open", path))?;
        Ok(Folder { path: path.to_owned(), descriptor, durability })
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Tells whether the folder was removed since it was opened.
    pub(crate) fn is_removed(&self) -> bool {
        is_removed(&self.descriptor)
    }

    /// Makes a folder inside this one; `None` where the name is taken, by whatever it is.
    pub(crate) fn create_folder(&self, name: &str) -> Result<Option<Folder>, SinkError> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.descriptor, name, FOLDER_MODE) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(error) => return Err(failed("create", &path)(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.descriptor, name, flags, Mode::empty());
        let opened = opened.map_err(failed("open", &path)).and_then(|descriptor| {
            self.sync_if_asked()?;
            Ok(descriptor)
        });
        match opened {
            Ok(descriptor) => Ok(Some(Folder { path, descriptor, durability: self.durability })),
            // An empty folder would look like a call that never started.
            Err(error) => Err(and_undoing(error, self.remove_folder(name))),
        }
    }

    /// Makes a file; there must be none of that name.
    pub(crate) fn create_file(&self, name: &str) -> Result<DiskFile, SinkError> {
        self.open_file("create", name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)
    }

    /// Makes a file for lines at its end; there must be none of that name.
    pub(crate) fn create_appended(&self, name: &str) -> Result<DiskFile, SinkError> {
        let file = self.open_file("create", name, APPEND | OFlags::CREATE | OFlags::EXCL)?;
        self.sync_or_remove(name)?;
        Ok(file)
    }

    /// Opens a file for lines at its end, and makes it where it is missing. Other processes may write to it too.
    ///
    /// Whatever lies there was not put there by us: only a regular file will do, and no link to one.
    pub(crate) fn open_appended(&self, name: &str) -> Result<DiskFile, SinkError> {
        // O_NONBLOCK: opening a FIFO must not wait for a reader.
        let file =
            self.open_file("open", name, APPEND | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = rustix::fs::fstat(&file.descriptor).map_err(failed("look at", &file.path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(file.error("open", io::Error::other("it is not a regular file")));
        }
        self.sync_if_asked()?;
        Ok(file)
    }

    /// Gives a finished file its final name. `Ok`: it is visible; an error: it is not.
    pub(crate) fn publish(&self, file: DiskFile, temporary: &str, name: &str) -> Result<(), SinkError> {
        if self.durability == Durability::System {
            file.sync()?;
        }
        file.close()?;
        rustix::fs::renameat(&self.descriptor, temporary, &self.descriptor, name)
            .map_err(failed("rename", &self.path.join(temporary)))?;
        self.sync_or_remove(name)
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove_file(&self, name: &str) -> Result<(), SinkError> {
        self.remove(name, AtFlags::empty())
    }

    /// Removes a folder, if it is there; it must be empty.
    pub(crate) fn remove_folder(&self, name: &str) -> Result<(), SinkError> {
        self.remove(name, AtFlags::REMOVEDIR)
    }

    fn remove(&self, name: &str, flags: AtFlags) -> Result<(), SinkError> {
        match rustix::fs::unlinkat(&self.descriptor, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("remove", &self.path.join(name))(error)),
        }
    }

    fn open_file(&self, act: &'static str, name: &str, flags: OFlags) -> Result<DiskFile, SinkError> {
        let path = self.path.join(name);
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.descriptor, name, flags, FILE_MODE) {
            Ok(descriptor) => Ok(DiskFile { path, descriptor }),
            Err(Errno::LOOP) => {
                let reason = io::Error::other("it is a symbolic link, and those are not followed");
                Err(SinkError::Io { act, path, source: reason })
            }
            Err(error) => Err(failed(act, &path)(error)),
        }
    }

    fn sync_or_remove(&self, name: &str) -> Result<(), SinkError> {
        self.sync_if_asked().map_err(|error| and_undoing(error, self.remove_file(name)))
    }

    /// Makes new names in this folder survive a crash of the system.
    fn sync_if_asked(&self) -> Result<(), SinkError> {
        match self.durability {
            Durability::Process => Ok(()),
            Durability::System => sync(&self.descriptor).map_err(failed("sync", &self.path)),
        }
    }
}

/// Reading: the last byte is looked at before a line is appended.
const APPEND: OFlags = OFlags::RDWR.union(OFlags::APPEND);

impl DiskFile {
    /// Returns the size in bytes.
    pub(crate) fn byte_len(&self) -> Result<u64, SinkError> {
        let stat = rustix::fs::fstat(&self.descriptor).map_err(failed("look at", &self.path))?;
        Ok(u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// Tells whether the file was removed since it was opened.
    pub(crate) fn is_removed(&self) -> bool {
        is_removed(&self.descriptor)
    }

    /// Writes bytes, or as many of them as there is room for.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::write(&self.descriptor, bytes))?)
    }

    /// Reads one byte; `None` behind the end.
    pub(crate) fn byte_at(&self, offset: u64) -> Result<Option<u8>, SinkError> {
        let mut byte = [0];
        let len = retry_on_intr(|| rustix::io::pread(&self.descriptor, &mut byte, offset));
        let len = len.map_err(failed("read", &self.path))?;
        Ok((len == 1).then_some(byte[0]))
    }

    /// Cuts the file.
    pub(crate) fn truncate(&self, len: u64) -> Result<(), SinkError> {
        rustix::fs::ftruncate(&self.descriptor, len).map_err(failed("cut", &self.path))
    }

    /// Asks for all of a file's blocks at once: faster than one by one, and a full disk shows before anything is
    /// written. File systems that cannot are not asked again.
    pub(crate) fn allocate(&self, len: u64) -> Result<(), SinkError> {
        #[cfg(target_os = "linux")]
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) =
            rustix::fs::fallocate(&self.descriptor, rustix::fs::FallocateFlags::empty(), 0, len)
        {
            return Err(failed("reserve space for", &self.path)(error));
        }
        Ok(())
    }

    /// Takes the lock that writers of one file take in turn; `None` while another one has it.
    ///
    /// It is one of whoever opened the file: threads that share it, and forked children, do not keep each other out.
    /// Some network file systems have no locks: there the appending write alone keeps lines apart.
    pub(crate) fn try_lock(&self) -> Result<Option<Locked<'_>>, SinkError> {
        match rustix::fs::flock(&self.descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => Ok(Some(Locked(self))),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
            Err(error) => Err(failed("lock", &self.path)(error)),
        }
    }

    /// Makes the contents survive a crash of the system. After an error nobody knows what is on the disk: trying
    /// again would succeed and prove nothing.
    pub(crate) fn sync(&self) -> Result<(), SinkError> {
        sync(&self.descriptor).map_err(failed("sync", &self.path))
    }

    fn close(self) -> Result<(), SinkError> {
        let DiskFile { path, descriptor } = self;
        close(descriptor).map_err(failed("close", &path))
    }

    /// Builds the error of something that failed with this file.
    pub(crate) fn error(&self, act: &'static str, source: io::Error) -> SinkError {
        SinkError::Io { act, path: self.path.clone(), source }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // It cannot fail for a lock that is held, and closing the file gives it back too.
        rustix::fs::flock(&self.0.descriptor, FlockOperation::Unlock).ok();
    }
}

/// Gives the error of something that failed and was undone, with what went wrong in undoing it: something is left
/// then that should not be.
pub(crate) fn and_undoing(error: SinkError, undone: Result<(), SinkError>) -> SinkError {
    match undone {
        Err(SinkError::Io { act, path, source }) => {
            let source = io::Error::new(source.kind(), format!("{source}, after: {}", chain(&error)));
            SinkError::Io { act, path, source }
        }
        Ok(()) | Err(_) => error,
    }
}

fn create_with_parents(path: &Path, durability: Durability) -> Result<(), SinkError> {
    let mut created = rustix::fs::mkdir(path, FOLDER_MODE);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let (Err(Errno::NOENT), Some(parent)) = (created, parent) {
        create_with_parents(parent, durability)?;
        created = rustix::fs::mkdir(path, FOLDER_MODE);
    }
    match created {
        Ok(()) if durability == Durability::System => {
            let parent = parent.unwrap_or(Path::new("."));
            open_folder(parent).and_then(|parent| sync(&parent)).map_err(failed("sync", parent))
        }
        // Another process may have been quicker.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(failed("create", path)(error)),
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

fn sync(descriptor: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::fsync(descriptor)
}

fn is_removed(descriptor: &OwnedFd) -> bool {
    rustix::fs::fstat(descriptor).is_ok_and(|stat| stat.st_nlink == 0)
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(Errno) -> SinkError {
    move |error| SinkError::Io { act, path: path.to_owned(), source: error.into() }
}
