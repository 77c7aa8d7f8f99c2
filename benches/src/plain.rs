//! Baselines: what the operating system and the memory allow.
#![expect(unsafe_code, reason = "mapping a file is unsafe: another process may change it")]

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::path::Path;

use memmap2::Mmap;

/// Reads a whole file into a buffer that keeps its memory from one call to the next.
pub(crate) fn read(path: &Path, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    File::open(path)?.read_to_end(buffer)?;
    Ok(())
}

/// Maps a whole file.
pub(crate) fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the file lies in a fresh temporary folder of this process, and nothing writes to it any more.
    unsafe { Mmap::map(&file) }
}

/// Looks at every byte.
pub(crate) fn touch(bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    black_box((sum, rest));
}
