//! A file of lines that grows at its end.

use std::borrow::Cow;
use std::io;

use callbox_core::{Line, SinkError};

use crate::disk::DiskFile;
use crate::durability::Durability;

/// Appends whole lines, each with one write and under the file's lock.
///
/// A line that another writer left unfinished is closed first, so that it costs itself alone. Looking for one takes
/// a read, which is saved while nobody else writes: then the file ends where our last line did.
#[derive(Debug)]
pub(crate) struct LineFile {
    file: DiskFile,
    durability: Durability,
    /// Where our last line ended; `None` when it is not known what the file ends with.
    end: Option<u64>,
}

impl LineFile {
    pub(crate) fn new(file: DiskFile, durability: Durability) -> LineFile {
        LineFile { file, durability, end: None }
    }

    /// Tells whether the file was removed since it was opened.
    pub(crate) fn is_removed(&self) -> bool {
        self.file.is_removed()
    }

    /// Appends a line. `Ok` gives the bytes written, a newline that closed another line among them.
    pub(crate) fn append(&mut self, line: &Line) -> Result<u64, SinkError> {
        let lock = self.file.lock()?;
        let len = self.file.byte_len()?;
        let ends_as_we_left_it = self.end.take() == Some(len) || len == 0;
        let is_torn = !ends_as_we_left_it && self.file.byte_at(len - 1)? != Some(b'\n');
        let bytes = if is_torn {
            Cow::Owned([b"\n", line.as_bytes()].concat())
        } else {
            Cow::Borrowed(line.as_bytes())
        };
        write_whole(&self.file, len, &bytes)?;
        let written = bytes.len() as u64;
        self.end = Some(len + written);
        // Others need not wait for the disk.
        drop(lock);
        match self.durability {
            Durability::Process => {}
            Durability::System => self.file.sync()?,
        }
        Ok(written)
    }
}

/// Writes all bytes behind the `len` that are there, or none.
fn write_whole(file: &DiskFile, len: u64, bytes: &[u8]) -> Result<(), SinkError> {
    let written = file.write(bytes).map_err(|error| file.error("write", error))?;
    if written == bytes.len() {
        return Ok(());
    }
    // What a writer who does not ask for the lock put behind it would be lost too; then the part stays, and the
    // next line closes it.
    if file.byte_len()? == len + written as u64 {
        file.truncate(len)?;
    }
    let reason = format!("there was room for {written} of {} bytes", bytes.len());
    Err(file.error("write", io::Error::new(io::ErrorKind::StorageFull, reason)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::disk::Folder;

    fn open(folder: &Path) -> LineFile {
        let folder = Folder::open_or_create(folder, Durability::System).unwrap();
        LineFile::new(folder.open_appended("lines").unwrap(), Durability::System)
    }

    fn line(text: &str) -> Line {
        Line::new(text.as_bytes().to_vec())
    }

    fn add(folder: &Path, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(folder.join("lines")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn u07_a_line_that_another_writer_left_unfinished_is_closed_first() {
        let folder = TempDir::new().unwrap();
        add(folder.path(), "whole\ntorn");
        let mut lines = open(folder.path());
        assert_eq!(lines.append(&line("a\n")).unwrap(), 3);
        assert_eq!(lines.append(&line("b\n")).unwrap(), 2);
        add(folder.path(), "c\n");
        assert_eq!(lines.append(&line("d\n")).unwrap(), 2);
        add(folder.path(), "torn again");
        assert_eq!(lines.append(&line("e\n")).unwrap(), 3);
        let text = fs::read_to_string(folder.path().join("lines")).unwrap();
        assert_eq!(text, "whole\ntorn\na\nb\nc\nd\ntorn again\ne\n");
    }

    #[test]
    fn lines_of_several_writers_stay_whole() {
        let folder = TempDir::new().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let mut lines = open(folder.path());
                lines.durability = Durability::Process;
                scope.spawn(move || {
                    let text = line(&format!("{}\n", writer.to_string().repeat(3000)));
                    (0..50).for_each(|_| assert_eq!(lines.append(&text).unwrap(), 3001));
                });
            }
        });
        let text = fs::read_to_string(folder.path().join("lines")).unwrap();
        assert_eq!(text.lines().count(), 200);
        assert!(text.lines().all(|line| line.len() == 3000 && line.bytes().all(|b| b == line.as_bytes()[0])));
    }

    #[test]
    fn a_lock_that_is_never_given_back_is_an_error() {
        let folder = TempDir::new().unwrap();
        let holder = open(folder.path());
        let lock = holder.file.lock().unwrap();
        let mut lines = open(folder.path());
        let error = lines.append(&line("a\n")).unwrap_err().to_string();
        assert!(error.starts_with("failed to lock "), "{error}");
        drop(lock);
        assert_eq!(lines.append(&line("a\n")).unwrap(), 2);
    }
}
