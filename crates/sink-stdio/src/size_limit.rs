//! The limit on the size of files that the process was started with (`ulimit -f`).

use std::io;

use rustix::fd::AsFd;
use rustix::fs::{FileType, fstat, tell};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// Fails where a file has no room for a text.
///
/// A write that begins at the limit does not only fail: the system sends SIGXFSZ, which ends the process. An application
/// that writes no large file itself must not die of being recorded, so the limit is asked for first.
pub(crate) fn check_room(file: impl AsFd, bytes: usize) -> io::Result<()> {
    let Some(limit) = getrlimit(Resource::Fsize).current else { return Ok(()) };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    let end = u64::try_from(stat.st_size).unwrap_or_default();
    // A file that is not written to at its end is written to where it was left.
    let place = tell(&file).map_or(end, |place| place.max(end));
    if place.saturating_add(bytes as u64) > limit { Err(Errno::FBIG.into()) } else { Ok(()) }
}
