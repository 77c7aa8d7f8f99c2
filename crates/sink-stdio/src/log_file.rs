//! The log's file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, PoisonError, RwLock};

use callbox_core::SinkError;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::destination::with_process_id;
use crate::size_limit::check_room;
use crate::turn::Turn;

/// A file that is open for append, with the process id in its name where the path asks for it.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    names_process: bool,
    /// The file of the process that opened it. No lock before it: a lock that another thread holds during a fork
    /// would stay locked in the child.
    first: Opened,
    /// The file of a child, since it was forked.
    forked: RwLock<Option<Arc<Opened>>>,
}

#[derive(Debug)]
struct Opened {
    process_id: u32,
    path: PathBuf,
    file: File,
    /// A pipe or a terminal takes a long text in several pieces: then threads take turns. A regular file takes it
    /// at once.
    turn: Option<Turn>,
}

impl LogFile {
    /// Opens the file of the present process.
    pub(crate) fn open(path: &Path) -> Result<LogFile, SinkError> {
        Ok(LogFile {
            path: path.to_owned(),
            names_process: with_process_id(path, 0) != path,
            first: Opened::of(path, process::id())?,
            forked: RwLock::default(),
        })
    }

    /// Writes a text at the end of the present process's file.
    pub(crate) fn append(&self, text: &[u8]) -> Result<(), SinkError> {
        // Without `%i` all processes share one file: nothing has to be asked.
        let process_id = if self.names_process { process::id() } else { self.first.process_id };
        self.append_as(process_id, text)
    }

    fn append_as(&self, process_id: u32, text: &[u8]) -> Result<(), SinkError> {
        if process_id == self.first.process_id {
            return self.first.append(text);
        }
        let forked = self.forked.read().unwrap_or_else(PoisonError::into_inner).clone();
        match forked.filter(|opened| opened.process_id == process_id) {
            Some(opened) => opened.append(text),
            None => self.reopened(process_id)?.append(text),
        }
    }

    #[cold]
    fn reopened(&self, process_id: u32) -> Result<Arc<Opened>, SinkError> {
        let mut forked = self.forked.write().unwrap_or_else(PoisonError::into_inner);
        match &*forked {
            Some(opened) if opened.process_id == process_id => Ok(opened.clone()),
            Some(_) | None => {
                let opened = Arc::new(Opened::of(&self.path, process_id)?);
                *forked = Some(opened.clone());
                Ok(opened)
            }
        }
    }
}

impl Opened {
    fn of(path: &Path, process_id: u32) -> Result<Opened, SinkError> {
        let path = with_process_id(path, process_id);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|source| failed("create", folder, source))?;
        }
        let (file, is_regular) = open_appended(&path).map_err(|source| failed("open", &path, source))?;
        let turn = (!is_regular).then(Turn::new);
        Ok(Opened { process_id, path, file, turn })
    }

    fn append(&self, text: &[u8]) -> Result<(), SinkError> {
        let _taken = self.turn.as_ref().map(Turn::take);
        let written = check_room(&self.file, text.len()).and_then(|()| (&self.file).write_all(text));
        written.map_err(|source| failed("write", &self.path, source))
    }
}

/// Opens a file for texts at its end, and tells whether it is a regular one.
fn open_appended(path: &Path) -> io::Result<(File, bool)> {
    // O_NONBLOCK: opening a FIFO must not wait for a reader. O_NOCTTY: a terminal is written to, not taken over.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened =
        OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags.bits() as i32).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NXIO) => io::Error::other("nobody reads it; start the reader first"),
        Some(_) | None => error,
    })?;
    let is_regular = file.metadata()?.is_file();
    // A write waits for a pipe that is full; otherwise it would be cut short there.
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok((file, is_regular))
}

fn failed(act: &'static str, path: &Path, source: io::Error) -> SinkError {
    SinkError::Io { act, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;
    use std::{fs, thread};

    use callbox_core::error::chain;
    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn u26_a_forked_child_has_a_file_of_its_own_and_so_has_its_child() {
        let folder = tempfile::tempdir().unwrap();
        let file = LogFile::open(&folder.path().join("%i.log")).unwrap();
        let (parent, child, grandchild) = (file.first.process_id, 1_000_000_001, 1_000_000_002);
        for (process_id, text) in
            [(parent, "a"), (child, "b"), (child, "c"), (grandchild, "d"), (parent, "e"), (child, "f")]
        {
            file.append_as(process_id, text.as_bytes()).unwrap();
        }
        for (process_id, text) in [(parent, "ae"), (child, "bcf"), (grandchild, "d")] {
            let path = folder.path().join(format!("{process_id}.log"));
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
        assert_eq!(process::id(), parent);
    }

    #[test]
    fn missing_folders_are_made_for_the_owner_alone_and_what_is_there_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/calls.log");
        for text in ["first ", "second"] {
            LogFile::open(&path).unwrap().append(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "first second");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn what_cannot_be_opened_is_an_error_that_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::write(&taken, "").unwrap();
        for (path, named) in [
            (folder.path().to_owned(), format!("failed to open {}", folder.path().display())),
            (taken.join("calls.log"), format!("failed to create {}", taken.display())),
            (PathBuf::new(), "failed to open ".to_owned()),
        ] {
            assert_eq!(LogFile::open(&path).unwrap_err().to_string(), named);
        }
    }

    #[test]
    fn a_fifo_is_opened_without_waiting_and_written_to_where_somebody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let error = LogFile::open(&path).unwrap_err();
        assert_eq!(
            chain(&error),
            format!("failed to open {}: nobody reads it; start the reader first", path.display())
        );

        // Open for both, a FIFO waits for nobody.
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let file = LogFile::open(&path).unwrap();
        let long = vec![b'x'; 1 << 20];
        thread::scope(|scope| {
            // More than a pipe holds: the writer waits while the reader is slow.
            scope.spawn(|| file.append(&long).unwrap());
            thread::sleep(Duration::from_millis(20));
            let mut read = vec![0; long.len()];
            reader.read_exact(&mut read).unwrap();
            assert_eq!(read, long);
        });
    }

    #[test]
    fn only_what_is_no_regular_file_is_written_in_turns() {
        let folder = tempfile::tempdir().unwrap();
        assert!(LogFile::open(&folder.path().join("calls.log")).unwrap().first.turn.is_none());
        assert!(LogFile::open(Path::new("/dev/null")).unwrap().first.turn.is_some());
    }
}
