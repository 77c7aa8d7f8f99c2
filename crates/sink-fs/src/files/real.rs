//! The file system of the operating system. Each method is one call of it.

use std::io;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::size_limit::room;
use super::{FileFacts, Files, OpenFile, OpenFolder, Opening};
use crate::close::close;

/// Tensors of models and lines of arguments are nobody else's business.
const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

/// The descriptor of a folder.
#[derive(Debug)]
struct RealFolder(OwnedFd);

/// The descriptor of a file.
#[derive(Debug)]
struct RealFile(OwnedFd);

impl Files for RealFiles {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::mkdir(path, FOLDER_MODE)?)
    }

    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn OpenFolder>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Box::new(RealFolder(rustix::fs::openat(CWD, path, flags, Mode::empty())?)))
    }
}

impl OpenFolder for RealFolder {
    fn create_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, name, FOLDER_MODE)?)
    }

    fn open_folder(&self, name: &str) -> io::Result<Box<dyn OpenFolder>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Box::new(RealFolder(rustix::fs::openat(&self.0, name, flags, Mode::empty())?)))
    }

    fn open_file(&self, name: &str, how: Opening) -> io::Result<Box<dyn OpenFile>> {
        let flags = match how {
            Opening::New => OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Opening::NewLines => LINES | OFlags::CREATE | OFlags::EXCL,
            Opening::Lines => LINES | SHARED,
            Opening::Places => OFlags::RDWR | SHARED,
            Opening::Reading => OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
        };
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0, name, flags, FILE_MODE) {
            Ok(descriptor) => Ok(Box::new(RealFile(descriptor))),
            Err(Errno::LOOP) => Err(io::Error::other("it is a symbolic link, and those are not followed")),
            Err(error) => Err(error.into()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    fn is_removed(&self) -> io::Result<bool> {
        Ok(rustix::fs::fstat(&self.0)?.st_nlink == 0)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.0)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Reading: the last byte is looked at before a line is appended.
const LINES: OFlags = OFlags::RDWR.union(OFlags::APPEND);
/// A file that may be there already, as anything: opening a FIFO must not wait for a reader.
const SHARED: OFlags = OFlags::CREATE.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

impl OpenFile for RealFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = match room(&self.0, None)? {
            Some(0) if !bytes.is_empty() => return Err(Errno::FBIG.into()),
            Some(room) if room < bytes.len() as u64 => &bytes[..room as usize],
            Some(_) | None => bytes,
        };
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if room(&self.0, Some(offset))?.is_some_and(|room| room < bytes.len() as u64) {
            return Err(Errno::FBIG.into());
        }
        Ok(rustix::io::pwrite(&self.0, bytes, offset)?)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pread(&self.0, bytes, offset)?)
    }

    fn facts(&self) -> io::Result<FileFacts> {
        let stat = rustix::fs::fstat(&self.0)?;
        Ok(FileFacts {
            bytes: u64::try_from(stat.st_size).unwrap_or_default(),
            is_regular: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
            is_removed: stat.st_nlink == 0,
        })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(&self.0, bytes)?)
    }

    /// Asks for all blocks at once: faster than one by one, and a full disk shows before anything is written.
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        if room(&self.0, None)?.is_some_and(|room| room < bytes) {
            return Err(Errno::FBIG.into());
        }
        #[cfg(target_os = "linux")]
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) =
            rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, bytes)
        {
            return Err(error.into());
        }
        Ok(())
    }

    /// Some network file systems have no locks: there the appending write alone keeps lines apart.
    fn try_lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        Ok(rustix::fs::flock(&self.0, FlockOperation::Unlock)?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(close(self.0)?)
    }
}
