//! The steps of recording that change files, all of them; a rename or a sync that is forgotten is forgotten here.
//!
//! Everything happens inside a [`Folder`] that is held open, by names without a slash: nothing that is put in a
//! folder's place meanwhile, a symbolic link say, leads a write elsewhere.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::error::chain;
use callbox_core::{SinkError, planted};

use crate::durability::Durability;
#[cfg(test)]
use crate::files::FileFacts;
use crate::files::{Files, OpenFile, OpenFolder, Opening};
use crate::leftovers::Leftovers;

/// An operation that a signal interrupts is done again, but not for ever: the application waits for it.
const TRIES: usize = 100;

/// A folder that files are written to. Clones are the same folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    open: Arc<dyn OpenFolder>,
    durability: Durability,
    /// Shared by a folder and those that are made in it.
    leftovers: Arc<Leftovers>,
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct DiskFile {
    path: PathBuf,
    open: Box<dyn OpenFile>,
}

/// A file that nobody else who asks for the lock writes to.
#[derive(Debug)]
#[must_use = "the lock is held while this lives"]
pub(crate) struct Locked<'a>(&'a DiskFile);

impl Folder {
    /// Opens a folder by its path; it and its parents are made where they are missing. The path is the user's own
    /// and may lead through symbolic links.
    pub(crate) fn open_or_create(
        files: &Arc<dyn Files>,
        path: &Path,
        durability: Durability,
    ) -> Result<Folder, SinkError> {
        let open = || patiently(|| files.open_folder(path));
        let opened = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create_with_parents(&**files, path, durability)?;
                open()
            }
            answer => answer,
        };
        let open = opened.map_err(failed("open", path))?.into();
        Ok(Folder { path: path.to_owned(), open, durability, leftovers: Arc::default() })
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Builds the error of something that failed with this folder.
    pub(crate) fn error(&self, act: &'static str, source: io::Error) -> SinkError {
        SinkError::Io { act, path: self.path.clone(), source }
    }

    /// Tells whether the folder was removed since it was opened.
    pub(crate) fn is_removed(&self) -> bool {
        self.open.is_removed().unwrap_or_default()
    }

    /// Returns the bytes that an ordinary user can still write here.
    pub(crate) fn free_bytes(&self) -> Result<u64, SinkError> {
        patiently(|| self.open.free_bytes()).map_err(failed("ask for the free space of", &self.path))
    }

    /// Makes a folder inside this one; `None` where the name is taken, by whatever it is.
    pub(crate) fn create_folder(&self, name: &str) -> Result<Option<Folder>, SinkError> {
        let path = self.path.join(name);
        match patiently(|| self.open.create_folder(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !planted::bug("exist_ok") {
                    return Ok(None);
                }
            }
            Err(error) => return Err(failed("create", &path)(error)),
        }
        let opened = self.open_folder(name).and_then(|folder| self.sync_if_asked().map(|()| folder));
        match opened {
            Ok(folder) => Ok(Some(folder)),
            // An empty folder would look like a call that never started.
            Err(error) => Err(and_undoing(error, self.remove_folder(name))),
        }
    }

    /// Opens a folder inside this one.
    pub(crate) fn open_folder(&self, name: &str) -> Result<Folder, SinkError> {
        let path = self.path.join(name);
        let open = patiently(|| self.open.open_folder(name)).map_err(failed("open", &path))?.into();
        Ok(Folder { path, open, durability: self.durability, leftovers: self.leftovers.clone() })
    }

    /// Makes a file; there must be none of that name.
    pub(crate) fn create_file(&self, name: &str) -> Result<DiskFile, SinkError> {
        self.open_file("create", name, Opening::New)
    }

    /// Makes a file for lines at its end; there must be none of that name.
    pub(crate) fn create_appended(&self, name: &str) -> Result<DiskFile, SinkError> {
        let file = self.open_file("create", name, Opening::NewLines)?;
        self.sync_or_remove(name)?;
        Ok(file)
    }

    /// Opens a file for lines at its end, and makes it where it is missing. Other processes may write to it too.
    pub(crate) fn open_appended(&self, name: &str) -> Result<DiskFile, SinkError> {
        self.open_shared(name, Opening::Lines)
    }

    /// Opens a file whose parts are written again in their places, and makes it where it is missing. Other processes
    /// may write to it too.
    pub(crate) fn open_places(&self, name: &str) -> Result<DiskFile, SinkError> {
        self.open_shared(name, Opening::Places)
    }

    /// Opens a file of this folder to read what was written to it.
    pub(crate) fn open_written(&self, name: &str) -> Result<DiskFile, SinkError> {
        self.open_file("open", name, Opening::Reading)
    }

    /// Whatever lies there was not put there by us: only a regular file will do, and no link to one.
    fn open_shared(&self, name: &str, how: Opening) -> Result<DiskFile, SinkError> {
        let file = self.open_file("open", name, how)?;
        let facts = patiently(|| file.open.facts()).map_err(failed("look at", &file.path))?;
        if !facts.is_regular {
            return Err(file.error("open", io::Error::other("it is not a regular file")));
        }
        self.sync_if_asked()?;
        Ok(file)
    }

    /// Gives a finished file its final name. `Ok`: it is visible; an error: it is not.
    pub(crate) fn publish(&self, file: DiskFile, temporary: &str, name: &str) -> Result<(), SinkError> {
        if self.durability == Durability::System && !planted::bug("no_file_sync") {
            file.sync()?;
        }
        file.close()?;
        patiently(|| self.open.rename(temporary, name))
            .map_err(failed("rename", &self.path.join(temporary)))?;
        self.sync_or_remove(name)
    }

    /// Removes a file, if it is there. What cannot be removed is tried again by [`Folder::remove_leftovers`].
    pub(crate) fn remove_file(&self, name: &str) -> Result<(), SinkError> {
        self.removed(name, false, patiently(|| self.open.remove_file(name)))
    }

    /// Removes the file of a call's lines, if it is there; it must not come back without what else was there.
    pub(crate) fn remove_lines(&self, name: &str) -> Result<(), SinkError> {
        self.remove_file(name)?;
        self.sync_if_asked()
    }

    /// Removes a folder, if it is there; it must be empty. What cannot be removed is tried again.
    pub(crate) fn remove_folder(&self, name: &str) -> Result<(), SinkError> {
        self.removed(name, true, patiently(|| self.open.remove_folder(name)))
    }

    /// Removes what could not be removed before, in this folder and those that were made in it.
    pub(crate) fn remove_leftovers(&self) {
        self.leftovers.remove();
    }

    fn removed(&self, name: &str, is_folder: bool, answer: io::Result<()>) -> Result<(), SinkError> {
        match answer {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                self.leftovers.keep(&self.open, name, is_folder);
                Err(failed("remove", &self.path.join(name))(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn open_file(&self, act: &'static str, name: &str, how: Opening) -> Result<DiskFile, SinkError> {
        let path = self.path.join(name);
        match patiently(|| self.open.open_file(name, how)) {
            Ok(open) => Ok(DiskFile { path, open }),
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
            Durability::System if planted::bug("no_folder_sync") => Ok(()),
            Durability::System => patiently(|| self.open.sync()).map_err(failed("sync", &self.path)),
        }
    }
}

impl DiskFile {
    /// Returns the size in bytes.
    pub(crate) fn byte_len(&self) -> Result<u64, SinkError> {
        let facts = patiently(|| self.open.facts()).map_err(failed("look at", &self.path))?;
        Ok(facts.bytes)
    }

    /// Tells whether the file was removed since it was opened.
    pub(crate) fn is_removed(&self) -> bool {
        self.open.facts().is_ok_and(|facts| facts.is_removed)
    }

    /// Writes bytes, or as many of them as there is room for.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        patiently(|| self.open.write(bytes))
    }

    /// Writes bytes to their place, all of them.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), SinkError> {
        let written = patiently(|| self.open.write_at(bytes, offset)).map_err(failed("write", &self.path))?;
        if written < bytes.len() {
            let reason = format!("there was room for {written} of {} bytes", bytes.len());
            return Err(self.error("write", io::Error::new(ErrorKind::StorageFull, reason)));
        }
        Ok(())
    }

    /// Reads from a place on, as many bytes as there are.
    pub(crate) fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, SinkError> {
        patiently(|| self.open.read_at(bytes, offset)).map_err(failed("read", &self.path))
    }

    /// Reads one byte; `None` behind the end.
    pub(crate) fn byte_at(&self, offset: u64) -> Result<Option<u8>, SinkError> {
        let mut byte = [0];
        let len = self.read_at(&mut byte, offset)?;
        Ok((len == 1).then_some(byte[0]))
    }

    /// Cuts the file.
    pub(crate) fn truncate(&self, len: u64) -> Result<(), SinkError> {
        patiently(|| self.open.truncate(len)).map_err(failed("cut", &self.path))
    }

    /// Asks for all of a file's blocks at once.
    pub(crate) fn allocate(&self, len: u64) -> Result<(), SinkError> {
        patiently(|| self.open.allocate(len)).map_err(failed("reserve space for", &self.path))
    }

    /// Takes the lock that writers of one file take in turn; `None` while another one has it.
    pub(crate) fn try_lock(&self) -> Result<Option<Locked<'_>>, SinkError> {
        match patiently(|| self.open.try_lock()) {
            Ok(taken) if planted::bug("lock_of_another_given_back") => Ok(taken.then_some(Locked(self))),
            Ok(taken) => Ok(taken.then(|| Locked(self))),
            Err(error) => Err(failed("lock", &self.path)(error)),
        }
    }

    /// Makes the contents survive a crash of the system. After an error nobody knows what is on the disk: trying
    /// again would succeed and prove nothing.
    pub(crate) fn sync(&self) -> Result<(), SinkError> {
        let synced = patiently(|| self.open.sync());
        let synced =
            if planted::bug("failed_sync_retried") { synced.or_else(|_| self.open.sync()) } else { synced };
        synced.map_err(failed("sync", &self.path))
    }

    fn close(self) -> Result<(), SinkError> {
        let DiskFile { path, open } = self;
        // The descriptor is gone after an error too: there is nothing to try again.
        open.close().map_err(failed("close", &path))
    }

    /// Builds the error of something that failed with this file.
    pub(crate) fn error(&self, act: &'static str, source: io::Error) -> SinkError {
        SinkError::Io { act, path: self.path.clone(), source }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // It cannot fail for a lock that is held, and closing the file gives it back too.
        self.0.open.unlock().ok();
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

fn create_with_parents(files: &dyn Files, path: &Path, durability: Durability) -> Result<(), SinkError> {
    let create = || patiently(|| files.create_folder(path));
    let mut created = create();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let (Err(error), Some(parent)) = (&created, parent)
        && error.kind() == ErrorKind::NotFound
    {
        create_with_parents(files, parent, durability)?;
        created = create();
    }
    match created {
        Ok(()) if durability == Durability::System => {
            let parent = parent.unwrap_or(Path::new("."));
            let open = || patiently(|| files.open_folder(parent));
            let synced = open().and_then(|parent| patiently(|| parent.sync()));
            // A folder that is found later counts as synced: this one must not be.
            synced.map_err(|error| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let removed = open().and_then(|parent| patiently(|| parent.remove_folder(name)));
                and_undoing(failed("sync", parent)(error), removed.map_err(failed("remove", path)))
            })
        }
        Ok(()) => Ok(()),
        // Another process may have been quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed("create", path)(error)),
    }
}

/// Does an operation again that a signal interrupted.
fn patiently<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..TRIES {
        match operation() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
    // Of another kind: callers above would go on trying.
    Err(io::Error::other(format!("a signal interrupted it {TRIES} times")))
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SinkError {
    move |source| SinkError::Io { act, path: path.to_owned(), source }
}

#[cfg(test)]
impl DiskFile {
    /// As on a disk that fails; `meanwhile` happens while it is waited for.
    pub(crate) fn that_cannot_sync(self, meanwhile: fn(&Path)) -> DiskFile {
        let (file, path) = (self.open, self.path.clone());
        DiskFile { path: self.path, open: Box::new(CannotSync { file, path, meanwhile }) }
    }
}

/// A file whose syncs fail.
#[cfg(test)]
#[derive(Debug)]
struct CannotSync {
    file: Box<dyn OpenFile>,
    path: PathBuf,
    meanwhile: fn(&Path),
}

#[cfg(test)]
impl OpenFile for CannotSync {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn facts(&self) -> io::Result<FileFacts> {
        self.file.facts()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn sync(&self) -> io::Result<()> {
        (self.meanwhile)(&self.path);
        Err(io::Error::other("the disk is gone"))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.file.close()
    }
}

#[cfg(test)]
mod tests {
    use callbox_core::error::chain;
    use tempfile::TempDir;

    use super::*;
    use crate::files::RealFiles;

    #[test]
    fn a_folder_that_another_process_made_meanwhile_is_taken() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a/b");
        for durability in [Durability::Process, Durability::System] {
            create_with_parents(&RealFiles, &path, durability).unwrap();
            assert!(path.is_dir());
        }
        std::fs::write(dir.path().join("file"), "").unwrap();
        let error = create_with_parents(&RealFiles, &dir.path().join("file/c"), Durability::Process);
        assert!(chain(&error.unwrap_err()).ends_with("file/c: Not a directory (os error 20)"));
    }

    #[test]
    fn a_folder_syncs_as_it_was_asked_to_and_so_do_those_in_it() {
        let dir = TempDir::new().unwrap();
        let files: Arc<dyn Files> = Arc::new(RealFiles);
        for durability in [Durability::Process, Durability::System] {
            let folder = Folder::open_or_create(&files, dir.path(), durability).unwrap();
            let inner = folder.create_folder(&format!("{durability}")).unwrap().unwrap();
            assert_eq!((folder.durability(), inner.durability()), (durability, durability));
        }
    }

    #[test]
    fn what_could_not_be_removed_is_tried_again_from_the_folder_above() {
        let dir = TempDir::new().unwrap();
        let files: Arc<dyn Files> = Arc::new(RealFiles);
        let folder = Folder::open_or_create(&files, dir.path(), Durability::Process).unwrap();
        let call = folder.create_folder("call").unwrap().unwrap();
        let full = dir.path().join("call/full");
        std::fs::create_dir_all(full.join("in_the_way")).unwrap();
        assert!(call.remove_folder("full").is_err());
        std::fs::remove_dir(full.join("in_the_way")).unwrap();
        folder.remove_leftovers();
        assert!(!full.exists());
    }
}
