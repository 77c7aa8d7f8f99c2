//! Writing the container, front to back, with the data passing through once.

use std::io::{BufWriter, Write};

use callbox_core::{FormatError, Quoted};
use crc32fast::Hasher;

use super::{
    CENTRAL_HEADER, DESCRIPTOR, DESCRIPTOR_FOLLOWS, END, LOCAL_HEADER, LOCAL_HEADER_LEN, UTF8_NAMES,
    ZIP64_END, ZIP64_END_LEN, ZIP64_EXTRA, ZIP64_LOCATOR, is_plain,
};

/// Every entry's data begin at a multiple of this, so that a mapped file can be used in place.
pub(crate) const ALIGNMENT: u64 = 64;

/// Identifies the extra field that pads an entry up to the alignment.
const PADDING_EXTRA: [u8; 2] = *b"FB";
const PADDING: u8 = b'Z';
/// Identifier and length in front of an extra field.
const EXTRA_HEADER_LEN: usize = 4;
/// Checksum and write go over pieces that stay in the cache between the two.
const PIECE: usize = 256 * 1024;
const LONGEST_ROOT: usize = 1024;
/// Made on Unix by version 3.0, needs version 4.5: what torch writes into the zip64 end record.
const MADE_BY: u16 = 0x031e;
const ZIP64_VERSION: u16 = 45;

/// Writes entries one after the other, then the directory.
pub(crate) struct ArchiveWriter<'a> {
    out: BufWriter<&'a mut dyn Write>,
    position: u64,
    root: &'a str,
    entries: Vec<Entry>,
}

impl<'a> ArchiveWriter<'a> {
    /// Starts an archive whose entries lie in the folder `root`.
    pub(crate) fn new(out: &'a mut dyn Write, root: &'a str) -> Result<ArchiveWriter<'a>, FormatError> {
        if !is_plain(root) || root.contains('/') || root.len() > LONGEST_ROOT {
            return Err(FormatError::Unsupported(format!("a root folder named {}", Quoted(root.as_bytes()))));
        }
        Ok(ArchiveWriter { out: BufWriter::new(out), position: 0, root, entries: Vec::new() })
    }

    /// Writes an entry whose bytes are at hand.
    pub(crate) fn entry(&mut self, name: &str, data: &[u8]) -> Result<(), FormatError> {
        let mut entry = self.begin(name, data.len() as u64)?;
        entry.write(data)?;
        entry.end()
    }

    /// Begins an entry whose bytes come in pieces, `size` of them.
    pub(crate) fn begin(&mut self, name: &str, size: u64) -> Result<EntryWriter<'_, 'a>, FormatError> {
        let entry = Entry { name: format!("{}/{name}", self.root), crc: 0, size, offset: self.position };
        self.put(&entry.local_header())?;
        Ok(EntryWriter { archive: self, entry, crc: Hasher::new(), written: 0 })
    }

    /// Derives 40 digits from the names and checksums of the entries so far: equal tensors, equal digits.
    pub(crate) fn serialization_id(&self) -> String {
        let names = fnv1a(self.entries.iter().flat_map(|entry| entry.name.bytes()));
        let data = fnv1a(self.entries.iter().flat_map(|entry| entry.crc.to_le_bytes()));
        format!("{names:020}{data:020}")
    }

    /// Writes the directory. `Ok`: every byte was handed on.
    pub(crate) fn finish(mut self) -> Result<(), FormatError> {
        let mut directory = Vec::new();
        for entry in &self.entries {
            entry.put_central_header(&mut directory);
        }
        let size = directory.len() as u64;
        put_end_records(&mut directory, self.entries.len() as u64, size, self.position);
        self.put(&directory)?;
        self.out.flush().map_err(FormatError::Write)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.out.write_all(bytes).map_err(FormatError::Write)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// Takes the bytes of one entry.
#[must_use = "the entry is whole only after `end`"]
pub(crate) struct EntryWriter<'w, 'a> {
    archive: &'w mut ArchiveWriter<'a>,
    entry: Entry,
    crc: Hasher,
    written: u64,
}

impl EntryWriter<'_, '_> {
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), FormatError> {
        for piece in data.chunks(PIECE) {
            self.crc.update(piece);
            self.archive.put(piece)?;
        }
        self.written += data.len() as u64;
        Ok(())
    }

    /// Closes the entry with the record of its checksum and size.
    pub(crate) fn end(mut self) -> Result<(), FormatError> {
        assert_eq!(self.written, self.entry.size, "an entry is begun with its size");
        self.entry.crc = self.crc.finalize();
        if self.entry.has_descriptor() {
            self.archive.put(&self.entry.descriptor())?;
        }
        self.archive.entries.push(self.entry);
        Ok(())
    }
}

/// What the headers say of an entry.
struct Entry {
    /// With the root folder.
    name: String,
    crc: u32,
    size: u64,
    offset: u64,
}

impl Entry {
    /// Returns size and offset if the entry ends within 4 GiB; all others take the zip64 form.
    fn narrow(&self) -> Option<(u32, u32)> {
        let end = self.offset.checked_add(self.size)?;
        (end < u64::from(u32::MAX)).then_some((self.size as u32, self.offset as u32))
    }

    /// Builds the header in front of the data, padded so that they begin at a multiple of the alignment.
    fn local_header(&self) -> Vec<u8> {
        let (size, zip64) = match self.narrow() {
            Some(_) => (0, Vec::new()),
            None => (u32::MAX, zip64_extra(&[self.size, self.size])),
        };
        let unpadded = LOCAL_HEADER_LEN + self.name.len() + zip64.len() + EXTRA_HEADER_LEN;
        let start = self.offset + unpadded as u64;
        let padding = (start.next_multiple_of(ALIGNMENT) - start) as usize;

        let mut header = Vec::with_capacity(unpadded + padding);
        header.extend(LOCAL_HEADER);
        header.extend(self.version_needed().to_le_bytes());
        header.extend(self.flags().to_le_bytes());
        header.extend([0; 6]); // method, time, date
        header.extend([0; 4]); // the checksum follows the data
        header.extend(u32::to_le_bytes(size));
        header.extend(u32::to_le_bytes(size));
        header.extend(u16_len(self.name.len()));
        header.extend(u16_len(zip64.len() + EXTRA_HEADER_LEN + padding));
        header.extend(self.name.as_bytes());
        header.extend(zip64);
        header.extend(PADDING_EXTRA);
        header.extend(u16_len(padding));
        header.resize(unpadded + padding, PADDING);
        header
    }

    /// Builds the record behind the data.
    fn descriptor(&self) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend(DESCRIPTOR);
        record.extend(self.crc.to_le_bytes());
        match self.narrow() {
            Some((size, _)) => record.extend([size.to_le_bytes(); 2].concat()),
            None => record.extend([self.size.to_le_bytes(); 2].concat()),
        }
        record
    }

    fn put_central_header(&self, out: &mut Vec<u8>) {
        let (size, offset, zip64) = match self.narrow() {
            Some((size, offset)) => (size, offset, Vec::new()),
            None => {
                let values = zip64_extra(&[self.size, self.size, self.offset]);
                (u32::MAX, u32::MAX, values)
            }
        };
        out.extend(CENTRAL_HEADER);
        out.extend([0; 2]); // made by
        out.extend(self.version_needed().to_le_bytes());
        out.extend(self.flags().to_le_bytes());
        out.extend([0; 6]); // method, time, date
        out.extend(self.crc.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend(u16_len(self.name.len()));
        out.extend(u16_len(zip64.len()));
        out.extend([0; 10]); // comment, disk, attributes
        out.extend(offset.to_le_bytes());
        out.extend(self.name.as_bytes());
        out.extend(zip64);
    }

    fn flags(&self) -> u16 {
        if self.has_descriptor() { DESCRIPTOR_FOLLOWS | UTF8_NAMES } else { UTF8_NAMES }
    }

    /// Of nothing, checksum and size are known beforehand.
    fn has_descriptor(&self) -> bool {
        self.size > 0
    }

    fn version_needed(&self) -> u16 {
        match self.narrow() {
            Some(_) => 0,
            None => ZIP64_VERSION,
        }
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
    out.extend([entries.to_le_bytes(); 2].concat());
    for value in [size, offset] {
        out.extend(u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }
    out.extend([0; 2]); // comment
}

fn zip64_extra(values: &[u64]) -> Vec<u8> {
    let mut extra = Vec::new();
    extra.extend(ZIP64_EXTRA.to_le_bytes());
    extra.extend(u16_len(values.len() * 8));
    values.iter().for_each(|value| extra.extend(value.to_le_bytes()));
    extra
}

/// Spells a length that the bound on the root folder's name keeps small.
fn u16_len(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("names and extra fields are bounded by the root's length").to_le_bytes()
}

/// The hash of Fowler, Noll and Vo, variant 1a, in 64 bits.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
