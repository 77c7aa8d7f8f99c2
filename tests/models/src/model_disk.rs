//! A disk with one file, whose every step the threads can meet in.

use std::io;
use std::path::Path;
use std::sync::Arc;

use loom::sync::Mutex;

use crate::files::{FileFacts, Files, OpenFile, OpenFolder, Opening};
use crate::sync::FILE_LOCK;

/// A disk with one file, as it is seen by one of those who opened it.
///
/// As on a real disk, appending writes come one after the other, and who looks meanwhile may see a part of one. The lock
/// is one of whoever opened the file.
#[derive(Clone, Debug)]
pub(crate) struct ModelDisk {
    file: Arc<ModelFile>,
    opener: u32,
}

#[derive(Debug)]
struct ModelFile {
    writing: Mutex<()>,
    bytes: Mutex<Vec<u8>>,
}

impl ModelDisk {
    /// Makes a disk whose file has these bytes.
    pub(crate) fn with(bytes: &[u8]) -> ModelDisk {
        let file = ModelFile { writing: Mutex::new(()), bytes: Mutex::new(bytes.to_owned()) };
        ModelDisk { file: Arc::new(file), opener: 0 }
    }

    /// The same disk, for another process.
    pub(crate) fn opened_by(&self, opener: u32) -> ModelDisk {
        ModelDisk { file: self.file.clone(), opener }
    }

    /// Returns what is in the file.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(held(&self.file.bytes).clone()).expect("the models write text")
    }
}

fn held<T>(mutex: &Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no model panics while it holds a lock")
}

fn no_such<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Files for ModelDisk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        no_such()
    }

    fn open_folder(&self, _: &Path) -> io::Result<Box<dyn OpenFolder>> {
        Ok(Box::new(self.clone()))
    }
}

impl OpenFolder for ModelDisk {
    fn create_folder(&self, _: &str) -> io::Result<()> {
        no_such()
    }

    fn open_folder(&self, _: &str) -> io::Result<Box<dyn OpenFolder>> {
        no_such()
    }

    fn open_file(&self, _: &str, _: Opening) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(self.clone()))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        no_such()
    }

    fn remove_file(&self, _: &str) -> io::Result<()> {
        no_such()
    }

    fn remove_folder(&self, _: &str) -> io::Result<()> {
        no_such()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_removed(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        no_such()
    }
}

impl OpenFile for ModelDisk {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let _writing = held(&self.file.writing);
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        held(&self.file.bytes).extend_from_slice(first);
        held(&self.file.bytes).extend_from_slice(rest);
        Ok(bytes.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let _writing = held(&self.file.writing);
        let mut file = held(&self.file.bytes);
        let end = offset as usize + bytes.len();
        let len = file.len().max(end);
        file.resize(len, 0);
        file[offset as usize..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = held(&self.file.bytes);
        let there = file.get(offset as usize..).unwrap_or_default();
        let len = there.len().min(bytes.len());
        bytes[..len].copy_from_slice(&there[..len]);
        Ok(len)
    }

    fn facts(&self) -> io::Result<FileFacts> {
        let bytes = held(&self.file.bytes).len() as u64;
        Ok(FileFacts { bytes, is_regular: true, is_removed: false })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        held(&self.file.bytes).truncate(bytes as usize);
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut locked_by = held(&FILE_LOCK.0);
        let is_free = locked_by.is_none_or(|opener| opener == self.opener);
        if is_free {
            *locked_by = Some(self.opener);
        }
        Ok(is_free)
    }

    fn unlock(&self) -> io::Result<()> {
        *held(&FILE_LOCK.0) = None;
        FILE_LOCK.1.notify_all();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}
