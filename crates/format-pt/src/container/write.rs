//! Writing the container, front to back, with the data passing through once.
//!
//! An [`ArchivePlan`] places the entries from their names and sizes; an [`ArchiveWriter`] takes their bytes.

use std::io::{BufWriter, Write};

use callbox_core::{FormatError, Quoted};
use crc32fast::Hasher;

use super::entry::{Entry, ZIP64_VERSION};
use super::{END, END_LEN, ZIP64_END, ZIP64_END_LEN, ZIP64_LOCATOR, ZIP64_LOCATOR_LEN, is_plain};

/// Write and checksum go over pieces that stay in the cache between the two. The write comes first: while it
/// copies, the memory is read ahead of it at no cost, which a sum that came first would have to wait for.
const PIECE: usize = 512 * 1024;
/// Headers and entries smaller than this leave in one write with their neighbours.
const GATHERED: u64 = 64 * 1024;
const LONGEST_ROOT: usize = 1024;
const END_RECORDS_LEN: usize = ZIP64_END_LEN + ZIP64_LOCATOR_LEN + END_LEN;
/// Made on Unix by version 3.0: what torch writes into the zip64 end record.
const MADE_BY: u16 = 0x031e;

/// The entries of an archive and their places.
pub(crate) struct ArchivePlan<'a> {
    root: &'a str,
    entries: Vec<Entry>,
    /// Where the next entry, or the directory, begins.
    end: u64,
}

impl<'a> ArchivePlan<'a> {
    /// Begins an archive whose entries lie in the folder `root`.
    pub(crate) fn new(root: &'a str) -> Result<ArchivePlan<'a>, FormatError> {
        if !is_plain(root) || root.contains('/') || root.len() > LONGEST_ROOT {
            return Err(FormatError::Unsupported(format!("a root folder named {}", Quoted(root.as_bytes()))));
        }
        Ok(ArchivePlan { root, entries: Vec::new(), end: 0 })
    }

    /// Appends an entry of `size` bytes.
    pub(crate) fn add(&mut self, name: &str, size: u64) {
        let entry = Entry::place(format!("{}/{name}", self.root), size, self.end);
        self.end = entry.end();
        self.entries.push(entry);
    }

    /// Returns the size of the whole file.
    pub(crate) fn byte_len(&self) -> u64 {
        self.end + (self.directory_len() + END_RECORDS_LEN) as u64
    }

    fn directory_len(&self) -> usize {
        self.entries.iter().map(Entry::central_header_len).sum()
    }
}

/// Writes the planned entries one after the other, then the directory.
pub(crate) struct ArchiveWriter<'a> {
    out: BufWriter<&'a mut dyn Write>,
    plan: &'a ArchivePlan<'a>,
    /// Checksums of the entries that are written.
    checksums: Vec<u32>,
    /// Headers pass through here.
    scratch: Vec<u8>,
}

impl<'a> ArchiveWriter<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, plan: &'a ArchivePlan<'a>) -> ArchiveWriter<'a> {
        let out = BufWriter::with_capacity(plan.byte_len().min(GATHERED) as usize, out);
        ArchiveWriter { out, plan, checksums: Vec::with_capacity(plan.entries.len()), scratch: Vec::new() }
    }

    /// Writes the next entry, whose bytes are at hand.
    pub(crate) fn entry(&mut self, data: &[u8]) -> Result<(), FormatError> {
        let mut entry = self.begin()?;
        entry.write(data)?;
        entry.end()
    }

    /// Begins the next entry, whose bytes come in pieces.
    pub(crate) fn begin(&mut self) -> Result<EntryWriter<'_, 'a>, FormatError> {
        let entry = &self.plan.entries[self.checksums.len()];
        entry.put_local_header(&mut self.scratch);
        self.put_scratch()?;
        Ok(EntryWriter { archive: self, entry, checksum: Hasher::new(), written: 0 })
    }

    /// Derives 40 digits from the names and checksums of the entries so far: equal tensors, equal digits.
    pub(crate) fn serialization_id(&self) -> String {
        let written = &self.plan.entries[..self.checksums.len()];
        let names = fnv1a(written.iter().flat_map(|entry| entry.name.bytes()));
        let data = fnv1a(self.checksums.iter().flat_map(|checksum| checksum.to_le_bytes()));
        format!("{names:020}{data:020}")
    }

    /// Writes the directory. `Ok`: every byte was handed on.
    pub(crate) fn finish(mut self) -> Result<(), FormatError> {
        assert_eq!(self.checksums.len(), self.plan.entries.len(), "every planned entry is written");
        for (entry, checksum) in self.plan.entries.iter().zip(&self.checksums) {
            entry.put_central_header(*checksum, &mut self.scratch);
        }
        let size = self.scratch.len() as u64;
        put_end_records(&mut self.scratch, self.plan.entries.len() as u64, size, self.plan.end);
        self.put_scratch()?;
        self.out.flush().map_err(FormatError::Write)
    }

    fn put_scratch(&mut self) -> Result<(), FormatError> {
        self.out.write_all(&self.scratch).map_err(FormatError::Write)?;
        self.scratch.clear();
        Ok(())
    }
}

/// Takes the bytes of one entry.
#[must_use = "the entry is whole only after `end`"]
pub(crate) struct EntryWriter<'w, 'a> {
    archive: &'w mut ArchiveWriter<'a>,
    entry: &'a Entry,
    checksum: Hasher,
    written: u64,
}

impl EntryWriter<'_, '_> {
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), FormatError> {
        for piece in data.chunks(PIECE) {
            self.archive.out.write_all(piece).map_err(FormatError::Write)?;
            self.checksum.update(piece);
        }
        self.written += data.len() as u64;
        Ok(())
    }

    /// Closes the entry with the record of its checksum and size.
    pub(crate) fn end(self) -> Result<(), FormatError> {
        assert_eq!(self.written, self.entry.size, "an entry is as large as was planned");
        let checksum = self.checksum.finalize();
        self.entry.put_descriptor(checksum, &mut self.archive.scratch);
        self.archive.checksums.push(checksum);
        self.archive.put_scratch()
    }
}

/// Puts the zip64 end record, its locator and the plain end record behind a directory at `offset`.
fn put_end_records(out: &mut Vec<u8>, entries: u64, size: u64, offset: u64) {
    let zip64_end = offset + size;
    out.extend(ZIP64_END);
    out.extend((ZIP64_END_LEN as u64 - 12).to_le_bytes());
    out.extend(MADE_BY.to_le_bytes());
    out.extend(ZIP64_VERSION.to_le_bytes());
    out.extend([0; 8]); // disks
    for value in [entries, entries, size, offset] {
        out.extend(value.to_le_bytes());
    }
    out.extend(ZIP64_LOCATOR);
    out.extend([0; 4]); // disk
    out.extend(zip64_end.to_le_bytes());
    out.extend(u32::to_le_bytes(1)); // disks

    let entries = u16::try_from(entries).unwrap_or(u16::MAX);
    out.extend(END);
    out.extend([0; 4]); // disks
    out.extend([entries.to_le_bytes(); 2].as_flattened());
    for value in [size, offset] {
        out.extend(u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }
    out.extend([0; 2]); // comment
}

/// The hash of Fowler, Noll and Vo, variant 1a, in 64 bits.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
