//! `session.limits`: what the processes that write a session have used of its limits together.
//!
//! Lines of one length: the number of the change, calls, bytes, and a hash of these three. Each change goes to the next
//! line, after the last one to the first again, by one write and under the file's lock, so that a crash in the middle of
//! it leaves the change before. The whole line with the highest number counts.
//!
//! A loss of power may spoil every change that is not synced yet. So the only synced line is never written over.

use std::io;
use std::sync::PoisonError;

use callbox_core::{SinkError, Usage, UsageCounter, planted};
use twox_hash::XxHash3_64;

use crate::disk::{DiskFile, Locked, and_undoing};
use crate::durability::Durability;
use crate::sync::{Mutex, MutexGuard};
use crate::turn::wait_for_turn;

pub(crate) const LIMITS_FILE: &str = "session.limits";
/// Three numbers of twenty digits, a hash of sixteen, three spaces and a newline.
const LINE: usize = 80;
/// As many changes can be under way, by processes that wait for the disk, without one waiting under the lock. All of them
/// fit into a page.
const LINES: usize = 48;

/// The usage that processes share.
#[derive(Debug)]
pub(crate) struct LimitsFile {
    file: DiskFile,
    durability: Durability,
    /// Threads of one process share the file, so its lock does not keep them apart. Whose turn it is has the number of
    /// changes that this process knows to be synced, from the first on.
    synced: Mutex<Option<u64>>,
}

/// A line of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    number: u64,
    usage: Usage,
}

/// While it lives nobody else changes the file. The lock is given back before the next thread may ask for it: what that one
/// then had, this one would give back.
type Turn<'a> = (Option<Locked<'a>>, MutexGuard<'a, Option<u64>>);

impl LimitsFile {
    pub(crate) fn new(file: DiskFile, durability: Durability) -> LimitsFile {
        LimitsFile { file, durability, synced: Mutex::new(None) }
    }

    /// Tells whether the file was removed since it was opened.
    pub(crate) fn is_removed(&self) -> bool {
        self.file.is_removed()
    }

    /// Changes the usage, one process after the other; `change` gives none where it is to stay as it is. `Ok`: other
    /// processes find what it gave.
    ///
    /// A lock that does not come free in time is an error: without it more could be used than there is.
    fn change(&self, change: impl FnOnce(Usage) -> Option<Usage>) -> Result<Option<Change>, SinkError> {
        let Some((_lock, mut synced)) = self.turn()? else {
            return Err(self.error("lock", "another process holds its lock and does not let go"));
        };
        let last = self.last()?;
        let Some(usage) = change(last.map(|last| last.usage).unwrap_or_default()) else { return Ok(None) };
        let number = last.map_or(0, |last| last.number.wrapping_add(1));
        if self.durability == Durability::System && !is_safe(*synced, number) {
            self.file.sync()?;
            *synced = Some(number);
        }
        let place = if planted::bug("limits_changed_in_place") { 0 } else { number % LINES as u64 };
        let change = Change { number, usage };
        self.file.write_at(&change.to_line(), place * LINE as u64)?;
        Ok(Some(change))
    }

    /// Syncs what is there when this process comes to the file, so that none of its changes has to wait for that under the
    /// lock.
    fn sync_once(&self) -> Result<(), SinkError> {
        let is_known = self.synced().is_some();
        if self.durability == Durability::System && !is_known {
            let changes = self.last()?.map_or(0, |last| last.number + 1);
            self.file.sync()?;
            let mut synced = self.synced();
            *synced = (*synced).max(Some(changes));
        }
        Ok(())
    }

    fn synced(&self) -> MutexGuard<'_, Option<u64>> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else changes the file.
    fn turn(&self) -> Result<Option<Turn<'_>>, SinkError> {
        wait_for_turn(|| {
            let synced = self.synced();
            if planted::bug("limits_unlocked") {
                return Ok(Some((None, synced)));
            }
            Ok(self.file.try_lock()?.map(|lock| (Some(lock), synced)))
        })
    }

    /// Returns the last change; `None` where there is none yet.
    fn last(&self) -> Result<Option<Change>, SinkError> {
        let mut bytes = [0; LINES * LINE];
        let len = self.file.read_at(&mut bytes, 0)?;
        let (lines, _) = bytes.as_chunks::<LINE>();
        let mut numbered: Vec<_> = lines.iter().filter_map(|line| Some((number_of(line)?, line))).collect();
        numbered.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        let last = numbered.iter().find_map(|(_, line)| Change::of_line(line));
        // Of the first change there may be a part: whoever wrote it was not told that it is there. After a loss of power
        // there may be zeros.
        if last.is_none() && len > LINE && bytes != [0; LINES * LINE] {
            return Err(self.error(
                "read",
                "none of its lines is whole; once it is removed, calls and bytes are counted anew",
            ));
        }
        Ok(last)
    }

    fn error(&self, act: &'static str, reason: &str) -> SinkError {
        self.file.error(act, io::Error::other(reason))
    }
}

/// Tells whether a line stays that is synced when the change of this number is written.
fn is_safe(synced: Option<u64>, number: u64) -> bool {
    if planted::bug("limits_synced_line_overwritten") {
        return true;
    }
    match synced {
        None => false,
        Some(0) => number == 0,
        Some(synced) => number.checked_sub(synced).is_some_and(|open| open < LINES as u64 - 1),
    }
}

impl UsageCounter for LimitsFile {
    /// The lock is given back before the disk is waited for: others wait for it a moment only.
    fn take(&self, amount: Usage, most: Usage) -> Result<Option<Usage>, SinkError> {
        self.sync_once()?;
        let Some(taken) = self.change(|usage| usage.plus(amount, most))? else { return Ok(None) };
        if self.durability == Durability::System {
            self.file.sync().map_err(|error| and_undoing(error, self.give_back(amount)))?;
            let mut synced = self.synced();
            *synced = (*synced).max(Some(taken.number + 1));
        }
        Ok(Some(taken.usage))
    }

    /// Not synced: a loss of power leaves it counted.
    fn give_back(&self, amount: Usage) -> Result<(), SinkError> {
        self.change(|usage| Some(usage.minus(amount))).map(|_| ())
    }
}

/// Returns the number that a line begins with, whole or not.
fn number_of(line: &[u8; LINE]) -> Option<u64> {
    str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok()
}

impl Change {
    fn to_line(self) -> [u8; LINE] {
        let Change { number, usage: Usage { calls, bytes } } = self;
        let numbers = format!("{number:020} {calls:020} {bytes:020}");
        let line = format!("{numbers} {:016x}\n", XxHash3_64::oneshot(numbers.as_bytes()));
        let mut fixed = [0; LINE];
        fixed.copy_from_slice(line.as_bytes());
        fixed
    }

    /// Reads a line that is as it was written.
    fn of_line(line: &[u8; LINE]) -> Option<Change> {
        let text = str::from_utf8(line).ok()?;
        let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
        let mut next = || numbers.next();
        let change = Change { number: next()?, usage: Usage { calls: next()?, bytes: next()? } };
        (change.to_line() == *line).then_some(change)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use callbox_core::error::chain;
    use tempfile::TempDir;

    use super::*;
    use crate::disk::Folder;
    use crate::files::{Files, RealFiles};

    fn open(folder: &Path) -> LimitsFile {
        let files: Arc<dyn Files> = Arc::new(RealFiles);
        let folder = Folder::open_or_create(&files, folder, Durability::System).unwrap();
        LimitsFile::new(folder.open_places(LIMITS_FILE).unwrap(), Durability::System)
    }

    fn bytes(bytes: u64) -> Usage {
        Usage { calls: 1, bytes }
    }

    #[test]
    fn what_one_opening_changes_the_other_finds() {
        let folder = TempDir::new().unwrap();
        let (first, second) = (open(folder.path()), open(folder.path()));
        assert_eq!(first.take(bytes(7), bytes(9)).unwrap(), Some(bytes(7)));
        assert_eq!(second.take(bytes(7), bytes(9)).unwrap(), None);
        assert_eq!(second.take(Usage { calls: 0, bytes: 2 }, bytes(9)).unwrap(), Some(bytes(9)));
        first.give_back(bytes(1)).unwrap();
        let text = fs::read_to_string(folder.path().join(LIMITS_FILE)).unwrap();
        let lines = text.lines().map(|line| line.rsplit_once(' ').unwrap().0);
        let expected = [(0, 1, 7), (1, 1, 9), (2, 0, 8)];
        let expected = expected.map(|(number, calls, bytes)| format!("{number:020} {calls:020} {bytes:020}"));
        assert!(lines.eq(expected), "{text}");
    }

    #[test]
    fn a_change_that_is_cut_or_flipped_anywhere_leaves_the_one_before() {
        let folder = TempDir::new().unwrap();
        let file = open(folder.path());
        let changes = LINES as u64 + 3;
        for used in 1..=changes {
            file.change(|_| Some(bytes(used))).unwrap();
        }
        let path = folder.path().join(LIMITS_FILE);
        let whole = fs::read(&path).unwrap();
        let usage = || file.last().unwrap().unwrap().usage;
        assert_eq!((usage(), whole.len()), (bytes(changes), LINES * LINE));
        let last = 2 * LINE..3 * LINE;
        for place in last.clone() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(usage(), bytes(changes - 1), "flipped at {place}");
            let mut torn = whole.clone();
            torn[place..last.end].fill(0);
            fs::write(&path, torn).unwrap();
            assert_eq!(usage(), bytes(changes - 1), "torn at {place}");
        }
    }

    #[test]
    fn the_last_line_that_is_synced_is_never_written_over() {
        let folder = TempDir::new().unwrap();
        let file = open(folder.path());
        let most = Usage { calls: 100, bytes: u64::MAX };
        file.take(bytes(1), most).unwrap();
        for change in 1..=3 * LINES as u64 {
            // What is given back is not synced.
            file.give_back(Usage { calls: 0, bytes: 0 }).unwrap();
            let last_synced = file.synced().unwrap() - 1;
            assert!(
                change - last_synced < LINES as u64,
                "{last_synced} is the last that is synced of {change}"
            );
        }
    }

    #[test]
    fn a_first_change_that_is_cut_is_none_and_a_damaged_file_is_an_error_that_says_what_to_do() {
        let folder = TempDir::new().unwrap();
        let file = open(folder.path());
        let path = folder.path().join(LIMITS_FILE);
        let line = Change { number: 0, usage: bytes(5) }.to_line();
        for len in 0..LINE {
            fs::write(&path, &line[..len]).unwrap();
            assert_eq!(file.last().unwrap(), None, "cut to {len} bytes");
        }
        fs::write(&path, [0; 2 * LINE]).unwrap();
        assert_eq!(file.last().unwrap(), None, "a loss of power may leave zeros");
        fs::write(&path, [b'x'; 2 * LINE]).unwrap();
        let message = chain(&file.change(Some).unwrap_err());
        let says = "none of its lines is whole; once it is removed, calls and bytes are counted anew";
        assert_eq!(message, format!("failed to read {}: {says}", path.display()));
        assert_eq!(fs::read(&path).unwrap(), [b'x'; 2 * LINE], "it stays as it was found");
    }

    #[test]
    fn a_lock_that_does_not_come_free_is_an_error() {
        let folder = TempDir::new().unwrap();
        let (holder, file) = (open(folder.path()), open(folder.path()));
        let lock = holder.file.try_lock().unwrap().unwrap();
        let message = chain(&file.change(Some).unwrap_err());
        assert!(message.contains("another process holds its lock and does not let go"), "{message}");
        drop(lock);
        file.change(Some).unwrap();
    }

    #[test]
    fn others_need_not_wait_for_the_disk_and_what_cannot_be_synced_is_taken_back() {
        let folder = TempDir::new().unwrap();
        open(folder.path()).take(Usage::default(), bytes(9)).unwrap();
        let file = open(folder.path()).file.that_cannot_sync(|path| {
            let other = open(path.parent().unwrap());
            assert_eq!(other.take(bytes(2), bytes(9)).unwrap(), None, "one call is taken");
            let two = Usage { calls: 2, bytes: 9 };
            assert_eq!(other.take(bytes(2), two).unwrap(), Some(Usage { calls: 2, bytes: 7 }));
        });
        let file = LimitsFile::new(file, Durability::System);
        *file.synced() = Some(1);
        let message = chain(&file.take(bytes(5), bytes(9)).unwrap_err());
        let path = folder.path().join(LIMITS_FILE);
        assert_eq!(message, format!("failed to sync {}: the disk is gone", path.display()));
        assert_eq!(file.last().unwrap().unwrap().usage, bytes(2));
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let numbers = [0, 1, 9_999_999_999_999_999_999, 10_000_000_000_000_000_000, u64::MAX];
        for (place, number) in numbers.into_iter().enumerate() {
            let usage = Usage { calls: numbers[(place + 1) % 5], bytes: numbers[(place + 2) % 5] };
            let change = Change { number, usage };
            assert_eq!(Change::of_line(&change.to_line()), Some(change));
        }
    }
}
