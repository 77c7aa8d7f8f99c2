//! A file that gets its name when it is whole.

use std::io::{self, BufWriter, Write};

use callbox_core::{FileHash, FormatError, SinkError, planted};

use crate::disk::{DiskFile, Folder, and_undoing};
use crate::hash::{Hasher, Hashing, PIECE};

/// Smaller pieces of a file are gathered until they are this much; larger ones are written as they are.
const GATHERED_BYTES: u64 = 64 << 10;
/// From here on it is faster to ask for a file's blocks before they are written.
const ALLOCATED_BYTES: u64 = 1 << 20;

/// Of a longer name the temporary one has only the beginning.
const LONGEST_KEPT: usize = 240;

/// Writes a file's content.
pub(crate) type Fill<'a> = dyn FnMut(&mut dyn Write) -> Result<(), FormatError> + 'a;

/// Writes a file under a temporary name, then gives it its own. `Ok` gives its size and its hash: the whole file is
/// visible; an error leaves nothing visible.
///
/// `planned` is the size that it must come to, where that is known. The hash is that of the bytes that the file took.
pub(crate) fn put(
    folder: &Folder,
    name: &str,
    planned: Option<u64>,
    hashing: Hashing,
    fill: &mut Fill<'_>,
) -> Result<(u64, Option<FileHash>), SinkError> {
    // A reader takes names with a leading dot for nobody's. File systems take names of 255 bytes.
    let temporary = format!(".{}.tmp", &name[..name.floor_char_boundary(LONGEST_KEPT)]);
    let temporary = if planted::bug("no_rename") { name.to_owned() } else { temporary };
    let file = folder.create_file(&temporary)?;
    let published = write(&file, planned, hashing, fill)
        .and_then(|written| folder.publish(file, &temporary, name).map(|()| written));
    published.map_err(|error| match planted::bug("temporary_stays") {
        true => error,
        false => and_undoing(error, folder.remove_file(&temporary)),
    })
}

/// Hashes what would be written, and writes nothing.
pub(crate) fn hash_of(hashing: Hashing, fill: &mut Fill<'_>) -> Result<Option<FileHash>, FormatError> {
    let mut hashed = Hashed { hasher: hashing.start() };
    fill(&mut hashed)?;
    Ok(hashed.hasher.map(Hasher::finish))
}

fn write(
    file: &DiskFile,
    planned: Option<u64>,
    hashing: Hashing,
    fill: &mut Fill<'_>,
) -> Result<(u64, Option<FileHash>), SinkError> {
    if let Some(bytes) = planned.filter(|&bytes| bytes >= ALLOCATED_BYTES) {
        file.allocate(bytes)?;
    }
    let write_error = |error| file.error("write", error);
    let room = planned.unwrap_or(u64::MAX);
    let planned_file = PlannedFile { file, left: room, hasher: hashing.start() };
    let mut out = BufWriter::with_capacity(room.min(GATHERED_BYTES) as usize, planned_file);
    fill(&mut out).map_err(|error| match error {
        FormatError::Write(error) => write_error(error),
        other => SinkError::Format(other),
    })?;
    out.flush().map_err(write_error)?;
    // Everything is written: what is left of the writer is what it counted and hashed.
    let (written, _) = out.into_parts();
    match (planned, written.left) {
        (Some(planned), left) if left > 0 => Err(write_error(io::Error::other(format!(
            "{planned} bytes were planned, {left} of them did not come"
        )))),
        (Some(_) | None, left) => Ok((room - left, written.hasher.map(Hasher::finish))),
    }
}

/// Takes bytes for their hash alone.
struct Hashed {
    hasher: Option<Hasher>,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that takes the bytes that were planned and none beyond: the budget was asked for these.
struct PlannedFile<'a> {
    file: &'a DiskFile,
    left: u64,
    hasher: Option<Hasher>,
}

impl Write for PlannedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("more bytes came than were planned"));
        }
        // The write comes first: while it copies, the memory is read ahead of it, and the hash finds it in the cache.
        let piece = if self.hasher.is_some() { &bytes[..bytes.len().min(PIECE)] } else { bytes };
        let written = self.file.write(piece)?;
        self.left -= written as u64;
        if let Some(hasher) = &mut self.hasher
            && !(self.left == 0 && planted::bug("last_piece_not_hashed"))
        {
            hasher.update(&piece[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
