//! The limit on the size of files that the process was started with (`ulimit -f`).

use callbox_core::planted;
use rustix::fd::AsFd;
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// Returns how many bytes can be written to a file, at its end or at a place in it; `None`: any number.
///
/// A write that begins at the limit does not only fail: the system sends SIGXFSZ, which ends the process. An application
/// that writes no large file itself must not die of being recorded, so the limit is asked for first.
pub(super) fn room(file: impl AsFd, place: Option<u64>) -> Result<Option<u64>, Errno> {
    if planted::bug("size_limit_forgotten") {
        return Ok(None);
    }
    let Some(limit) = getrlimit(Resource::Fsize).current else { return Ok(None) };
    let stat = fstat(file)?;
    let is_limited = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let place = place.unwrap_or(u64::try_from(stat.st_size).unwrap_or_default());
    Ok(is_limited.then(|| limit.saturating_sub(place)))
}
