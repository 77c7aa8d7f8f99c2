//! A file of lines that grows at its end.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::PoisonError;

use callbox_core::{Line, SinkError, planted};

use crate::disk::{DiskFile, Locked, and_undoing};
use crate::durability::Durability;
use crate::sync::{Mutex, MutexGuard};
use crate::turn::wait_for_turn;

/// Appends whole lines, each with one write and under the file's lock.
///
/// A line that another writer left unfinished is closed first, so that it costs itself alone. Looking for one takes
/// a read, which is saved while nobody else writes: then the file ends where our last line did.
///
/// A lock that does not come free in time is done without, until it is found free again: it is asked for once a line
/// then, without waiting. That loses least. On a local file system appending writes do not mix, so all that may come of
/// it is an empty line, where a line that was still being written looked unfinished. Nothing is cut off without the
/// lock: what did not fit stays, and the next line closes it.
#[derive(Debug)]
pub(crate) struct LineFile {
    file: DiskFile,
    durability: Durability,
    tail: Mutex<Tail>,
}

/// What is known of the file's end. Whoever holds it is this process's one writer.
#[derive(Debug, Default)]
struct Tail {
    /// Where our last line ended; `None` when it is not known what the file ends with.
    our_end: Option<u64>,
    /// The lock was waited for in vain, and not had since.
    lock_is_stuck: bool,
    /// A sync failed. The next one would succeed and prove nothing, so there is none.
    is_unsound: bool,
}

impl LineFile {
    pub(crate) fn new(file: DiskFile, durability: Durability) -> LineFile {
        LineFile { file, durability, tail: Mutex::default() }
    }

    /// Tells whether the file was removed since it was opened.
    pub(crate) fn is_removed(&self) -> bool {
        self.file.is_removed()
    }

    /// Appends a line. `Ok` gives the bytes written, a newline that closed another line among them; an error leaves
    /// nothing of the line, or says so.
    ///
    /// After a sync that failed the file takes no more lines: it has to be opened anew.
    pub(crate) fn append(&self, line: &Line) -> Result<u64, SinkError> {
        let (mut tail, lock) = self.turn()?;
        if tail.is_unsound {
            let reason = "a line before it could not be synced";
            return Err(self.file.error("write", io::Error::other(reason)));
        }
        let ours = self.write(&mut tail, lock.as_ref(), line)?;
        let written = ours.end - ours.start;
        // Other processes need not wait for the disk.
        drop(lock);
        if let Err(error) = self.sync_if_asked() {
            tail.is_unsound = true;
            drop(tail);
            return Err(and_undoing(error, self.take_back(ours)));
        }
        Ok(written)
    }

    /// Waits until it is this writer's turn: for the file's lock, and without it once it counts as stuck.
    fn turn(&self) -> Result<(MutexGuard<'_, Tail>, Option<Locked<'_>>), SinkError> {
        let turn = wait_for_turn(|| {
            let mut tail = self.tail();
            if planted::bug("no_line_lock") {
                return Ok(Some((tail, None)));
            }
            if let Some(lock) = self.file.try_lock()? {
                tail.lock_is_stuck = false;
                return Ok(Some((tail, Some(lock))));
            }
            Ok(tail.lock_is_stuck.then_some((tail, None)))
        })?;
        Ok(turn.unwrap_or_else(|| {
            let mut tail = self.tail();
            tail.lock_is_stuck = true;
            (tail, None)
        }))
    }

    /// Writes a line at the end, and gives its place.
    fn write(
        &self,
        tail: &mut Tail,
        lock: Option<&Locked<'_>>,
        line: &Line,
    ) -> Result<Range<u64>, SinkError> {
        let len = self.file.byte_len()?;
        let ends_as_we_left_it = tail.our_end.take() == Some(len) || len == 0;
        let is_torn = !ends_as_we_left_it
            && !planted::bug("no_newline_repair")
            && self.file.byte_at(len - 1)? != Some(b'\n');
        let bytes = if is_torn {
            Cow::Owned([b"\n", line.as_bytes()].concat())
        } else {
            Cow::Borrowed(line.as_bytes())
        };
        let once = |bytes: &[u8]| self.file.write(bytes).map_err(|error| self.file.error("write", error));
        let written = match bytes.split_last() {
            Some((last, front)) if planted::bug("two_writes_a_line") => once(front)? + once(&[*last])?,
            Some(_) | None => once(&bytes)?,
        };
        let place = len..len + written as u64;
        if written < bytes.len() {
            let reason = format!("there was room for {written} of {} bytes", bytes.len());
            let error = self.file.error("write", io::Error::new(io::ErrorKind::StorageFull, reason));
            return Err(and_undoing(error, self.cut_off(lock, place)));
        }
        // Without the lock another line may have come first.
        tail.our_end = lock.map(|_| place.end);
        Ok(place)
    }

    fn sync_if_asked(&self) -> Result<(), SinkError> {
        match self.durability {
            Durability::Process => Ok(()),
            Durability::System if planted::bug("no_line_sync") => Ok(()),
            Durability::System => self.file.sync(),
        }
    }

    /// Takes a line back that was written.
    fn take_back(&self, line: Range<u64>) -> Result<(), SinkError> {
        let (mut tail, lock) = self.turn()?;
        tail.our_end = None;
        self.cut_off(lock.as_ref(), line)
    }

    /// Cuts off what was written, if it is the last of the file.
    fn cut_off(&self, lock: Option<&Locked<'_>>, written: Range<u64>) -> Result<(), SinkError> {
        let stays = |reason| Err(self.file.error("take a line back from", io::Error::other(reason)));
        if lock.is_none() {
            return stays("another process holds its lock and does not let go");
        }
        // A writer who does not ask for the lock may have put something behind it.
        if self.file.byte_len()? != written.end {
            return stays("other lines follow it");
        }
        if planted::bug("short_line_stays") { Ok(()) } else { self.file.truncate(written.start) }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // What a panic may leave behind is an end that is not known.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl LineFile {
    /// As on a disk that fails; `meanwhile` happens while it is waited for.
    pub(crate) fn that_cannot_sync(file: DiskFile, meanwhile: fn(&std::path::Path)) -> LineFile {
        LineFile::new(file.that_cannot_sync(meanwhile), Durability::System)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use callbox_core::error::chain;
    use tempfile::TempDir;

    use super::*;
    use crate::disk::Folder;
    use crate::files::{Files, RealFiles};

    fn open(folder: &Path) -> LineFile {
        let files: Arc<dyn Files> = Arc::new(RealFiles);
        let folder = Folder::open_or_create(&files, folder, Durability::System).unwrap();
        LineFile::new(folder.open_appended("lines").unwrap(), Durability::System)
    }

    fn line(text: &str) -> Line {
        Line::new(text.as_bytes().to_vec())
    }

    fn add(folder: &Path, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(folder.join("lines")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn check_text(folder: &Path, expected: &str) {
        assert_eq!(fs::read_to_string(folder.join("lines")).unwrap(), expected);
    }

    fn check_refused(lines: &LineFile, folder: &Path, reason: &str) {
        let error = chain(&lines.append(&line("refused\n")).unwrap_err());
        assert_eq!(error.replace(&format!("{}/", folder.display()), ""), reason);
    }

    #[test]
    fn u07_a_line_that_another_writer_left_unfinished_is_closed_first() {
        let folder = TempDir::new().unwrap();
        add(folder.path(), "whole\ntorn");
        let lines = open(folder.path());
        assert_eq!(lines.append(&line("a\n")).unwrap(), 3);
        assert_eq!(lines.append(&line("b\n")).unwrap(), 2);
        add(folder.path(), "c\n");
        assert_eq!(lines.append(&line("d\n")).unwrap(), 2);
        add(folder.path(), "torn again");
        assert_eq!(lines.append(&line("e\n")).unwrap(), 3);
        check_text(folder.path(), "whole\ntorn\na\nb\nc\nd\ntorn again\ne\n");
    }

    #[test]
    fn lines_of_several_writers_stay_whole() {
        let folder = TempDir::new().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let lines = LineFile { durability: Durability::Process, ..open(folder.path()) };
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
    fn a_lock_that_is_never_given_back_is_waited_for_once_and_then_done_without() {
        let folder = TempDir::new().unwrap();
        let holder = open(folder.path());
        let lock = holder.file.try_lock().unwrap().unwrap();
        add(folder.path(), "torn");
        let lines = open(folder.path());
        assert_eq!(lines.append(&line("a\n")).unwrap(), 3);
        #[expect(clippy::disallowed_methods, reason = "waiting is measured")]
        let start = std::time::Instant::now();
        for _ in 0..100 {
            assert_eq!(lines.append(&line("b\n")).unwrap(), 2);
        }
        assert!(start.elapsed() < Duration::from_secs(2), "100 waits take 5 seconds and more");
        assert!(lines.tail().lock_is_stuck);
        drop(lock);
        assert_eq!(lines.append(&line("c\n")).unwrap(), 2);
        assert!(!lines.tail().lock_is_stuck);
        check_text(folder.path(), &format!("torn\na\n{}c\n", "b\n".repeat(100)));
    }

    #[test]
    fn a_line_that_cannot_be_synced_is_taken_back_and_no_later_sync_is_believed() {
        let folder = TempDir::new().unwrap();
        add(folder.path(), "torn");
        let mut lines = LineFile::that_cannot_sync(open(folder.path()).file, |_| {});
        check_refused(&lines, folder.path(), "failed to sync lines: the disk is gone");
        check_text(folder.path(), "torn");
        lines.durability = Durability::Process;
        let reason = "failed to write lines: a line before it could not be synced";
        check_refused(&lines, folder.path(), reason);
        assert_eq!(open(folder.path()).append(&line("a\n")).unwrap(), 3);
        check_text(folder.path(), "torn\na\n");
    }

    #[test]
    fn a_line_that_others_follow_is_not_taken_back_and_the_error_says_so() {
        let folder = TempDir::new().unwrap();
        let lines = LineFile::that_cannot_sync(open(folder.path()).file, |path| {
            let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
            file.write_all(b"another's\n").unwrap();
        });
        let reason = "failed to take a line back from lines: other lines follow it, after: \
                      failed to sync lines: the disk is gone";
        check_refused(&lines, folder.path(), reason);
        check_text(folder.path(), "refused\nanother's\n");
    }
}
