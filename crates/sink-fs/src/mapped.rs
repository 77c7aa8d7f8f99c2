//! Files as memory.
#![expect(unsafe_code, reason = "mapping a file is unsafe: another process may change it")]

use std::fs::File;
use std::io;

use callbox_core::Bytes;
use memmap2::Mmap;

/// Maps a whole file for reading.
///
/// Nothing is copied, and pages are read when they are first looked at. The price: a file that another process
/// cuts short meanwhile ends this one with SIGBUS at the next look behind the new end. No check beforehand can
/// prevent that, which is why files are read into buffers unless the user asks for mapping.
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: the mapping is shared and read-only, and `Bytes` hands out shared slices only. What remains is
    // that the file must not change while it is mapped; the user who asks for mapping vouches for that
    // (`ReadMode::Mapped`).
    let mapping = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(mapping))
}
