//! A file that gets its name when it is whole.

use std::io::{self, BufWriter, Write};

use callbox_core::{FormatError, SinkError, planted};

use crate::disk::{DiskFile, Folder, and_undoing};

/// Smaller pieces of a file are gathered until they are this much; larger ones are written as they are.
const GATHERED_BYTES: u64 = 64 << 10;
/// From here on it is faster to ask for a file's blocks before they are written.
const ALLOCATED_BYTES: u64 = 1 << 20;

/// Of a longer name the temporary one has only the beginning.
const LONGEST_KEPT: usize = 240;

/// Writes a file's content.
pub(crate) type Fill<'a> = dyn FnMut(&mut dyn Write) -> Result<(), FormatError> + 'a;

/// Writes a file under a temporary name, then gives it its own. `Ok` gives its size: the whole file is visible; an
/// error leaves nothing visible.
///
/// `planned` is the size that it must come to, where that is known.
pub(crate) fn put(
    folder: &Folder,
    name: &str,
    planned: Option<u64>,
    fill: &mut Fill<'_>,
) -> Result<u64, SinkError> {
    // A reader takes names with a leading dot for nobody's. File systems take names of 255 bytes.
    let temporary = format!(".{}.tmp", &name[..name.floor_char_boundary(LONGEST_KEPT)]);
    let temporary = if planted::bug("no_rename") { name.to_owned() } else { temporary };
    let file = folder.create_file(&temporary)?;
    let published = write(&file, planned, fill)
        .and_then(|written| folder.publish(file, &temporary, name).map(|()| written));
    published.map_err(|error| match planted::bug("temporary_stays") {
        true => error,
        false => and_undoing(error, folder.remove_file(&temporary)),
    })
}

fn write(file: &DiskFile, planned: Option<u64>, fill: &mut Fill<'_>) -> Result<u64, SinkError> {
    if let Some(bytes) = planned.filter(|&bytes| bytes >= ALLOCATED_BYTES) {
        file.allocate(bytes)?;
    }
    let write_error = |error| file.error("write", error);
    let room = planned.unwrap_or(u64::MAX);
    let mut out =
        BufWriter::with_capacity(room.min(GATHERED_BYTES) as usize, PlannedFile { file, left: room });
    fill(&mut out).map_err(|error| match error {
        FormatError::Write(error) => write_error(error),
        other => SinkError::Format(other),
    })?;
    out.flush().map_err(write_error)?;
    match (planned, out.get_ref().left) {
        (Some(planned), left) if left > 0 => Err(write_error(io::Error::other(format!(
            "{planned} bytes were planned, {left} of them did not come"
        )))),
        (Some(_) | None, left) => Ok(room - left),
    }
}

/// A file that takes the bytes that were planned and none beyond: the budget was asked for these.
struct PlannedFile<'a> {
    file: &'a DiskFile,
    left: u64,
}

impl Write for PlannedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("more bytes came than were planned"));
        }
        let written = self.file.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
