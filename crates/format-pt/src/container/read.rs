//! Reading the container. The central directory is the truth; everything else has to agree with it.

use std::collections::HashMap;
use std::ops::Range;

use callbox_core::{Bytes, FormatError, Quoted, planted};

use super::checksum::crc32;
use super::directory::Directory;
use super::header::Header;
use super::{DESCRIPTOR, DESCRIPTOR_FOLLOWS, UTF8_NAMES, foreign, inconsistent, is_plain};
use crate::cursor::Cursor;

/// An opened container: its entries by their names inside the one folder.
///
/// The entries and the central directory fill the file without a gap, no name occurs twice, and every
/// checksum that is there was verified.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    bytes: &'a Bytes,
    entries: HashMap<&'a str, Range<usize>>,
    unchecked: Vec<&'a str>,
}

impl<'a> Archive<'a> {
    /// Reads and checks the whole directory. Nothing is copied, and nothing is allocated that the file's own
    /// size does not pay for.
    pub(crate) fn open(bytes: &'a Bytes) -> Result<Archive<'a>, FormatError> {
        foreign::refuse(bytes)?;
        let directory = Directory::find(bytes)?;
        let mut entries = read_entries(bytes, &directory)?;
        entries.sort_by_key(|entry| entry.offset);

        let mut by_name = HashMap::with_capacity(entries.len());
        let mut unchecked = Vec::new();
        let root = entries.first().map_or("", |entry| entry.root);
        let mut end_of_last = 0;
        for entry in &entries {
            entry.check_neighbours(root, end_of_last)?;
            let place = entry.locate(bytes, directory.range.start)?;
            if entry.lacks_checksum() || planted::bug("crc_unchecked") {
                unchecked.push(entry.name);
            } else {
                entry.verify(&bytes[place.data.clone()])?;
            }
            end_of_last = place.end;
            if by_name.insert(entry.name, place.data).is_some() {
                return Err(inconsistent(format!("there are two entries {}", entry.quoted())));
            }
        }
        if end_of_last != directory.range.start {
            return Err(inconsistent("bytes before the central directory belong to no entry"));
        }
        Ok(Archive { bytes, entries: by_name, unchecked })
    }

    /// Returns the entries without a checksum, in the order of the file.
    pub(crate) fn unchecked(&self) -> &[&'a str] {
        &self.unchecked
    }

    /// Returns an entry's bytes, shared with the file's.
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        self.entries.get(name).map(|range| self.bytes.slice(range.clone()))
    }
}

/// Reads the directory's entries, as many as it declares and nothing behind them.
fn read_entries<'a>(bytes: &'a [u8], directory: &Directory) -> Result<Vec<Entry<'a>>, FormatError> {
    let mut cursor = Cursor::new(&bytes[directory.range.clone()]);
    let mut headers = Vec::with_capacity(directory.entries);
    for number in 0..directory.entries {
        let header = Header::read_central(&mut cursor)
            .ok_or_else(|| inconsistent(format!("entry {number} of the central directory is cut")))?;
        foreign::refuse_program(header.name)?;
        headers.push(header);
    }
    if !cursor.is_at_end() {
        return Err(inconsistent("the central directory is longer than its entries"));
    }
    headers.into_iter().map(Entry::check).collect()
}

/// An entry as the central directory has it, checked as far as that goes without looking elsewhere.
struct Entry<'a> {
    root: &'a str,
    /// Behind the root folder.
    name: &'a str,
    full_name: &'a [u8],
    flags: u16,
    crc: u32,
    size: usize,
    offset: usize,
}

/// Where an entry lies in the file.
struct Place {
    data: Range<usize>,
    /// Behind everything that belongs to the entry.
    end: usize,
}

impl<'a> Entry<'a> {
    fn check(header: Header<'a>) -> Result<Entry<'a>, FormatError> {
        let quoted = Quoted(header.name);
        if header.flags & 1 != 0 {
            return Err(FormatError::Unsupported(format!("entry {quoted} is encrypted")));
        }
        if header.method != 0 && !planted::bug("deflate_accepted") {
            return Err(FormatError::Unsupported(format!(
                "entry {quoted} is compressed (method {}); torch.save stores its entries as they are",
                header.method
            )));
        }
        if header.flags & !(DESCRIPTOR_FOLLOWS | UTF8_NAMES) != 0 {
            return Err(FormatError::Unsupported(format!(
                "entry {quoted} has the zip flags {:#06x}",
                header.flags
            )));
        }
        if header.is_link {
            return Err(FormatError::Refused(format!("entry {quoted} is a symbolic link")));
        }
        if header.stored_size != header.size {
            return Err(inconsistent(format!("entry {quoted} has two sizes")));
        }
        let (root, name) = split_name(header.name)?;
        let too_far = |_| inconsistent(format!("entry {quoted} reaches past the end of the file"));
        Ok(Entry {
            root,
            name,
            full_name: header.name,
            flags: header.flags,
            crc: header.crc,
            size: usize::try_from(header.size).map_err(too_far)?,
            offset: usize::try_from(header.offset).map_err(too_far)?,
        })
    }

    fn quoted(&self) -> Quoted<'a> {
        Quoted(self.full_name)
    }

    fn check_neighbours(&self, root: &str, end_of_last: usize) -> Result<(), FormatError> {
        let quoted = self.quoted();
        if self.root != root {
            return Err(inconsistent(format!("entry {quoted} lies outside the folder of the others")));
        }
        if self.offset < end_of_last && !planted::bug("overlap_allowed") {
            return Err(inconsistent(format!("entry {quoted} overlaps the one before it")));
        }
        if self.offset > end_of_last {
            return Err(inconsistent(format!("bytes before entry {quoted} belong to no entry")));
        }
        Ok(())
    }

    /// Finds the entry's data and its end by its local header, which must agree and lie before `limit`.
    fn locate(&self, bytes: &[u8], limit: usize) -> Result<Place, FormatError> {
        let quoted = self.quoted();
        let past_end = || inconsistent(format!("entry {quoted} reaches into the central directory"));
        let mut cursor = Cursor::new(bytes.get(self.offset..limit).ok_or_else(past_end)?);
        let local = Header::read_local(&mut cursor)
            .ok_or_else(|| inconsistent(format!("entry {quoted} has no local header")))?;
        let deferred = self.flags & DESCRIPTOR_FOLLOWS != 0;
        let agrees = |local: u64, central: u64| local == central || deferred && local == 0;
        let size = self.size as u64;
        if local.name != self.full_name
            || local.flags != self.flags
            || local.method != 0
            || !agrees(u64::from(local.crc), u64::from(self.crc))
            || !agrees(local.size, size)
            || !agrees(local.stored_size, size)
        {
            return Err(inconsistent(format!(
                "the local header of entry {quoted} contradicts the central directory"
            )));
        }
        let start = self.offset + cursor.position();
        cursor.take(self.size).ok_or_else(past_end)?;
        let data = start..self.offset + cursor.position();
        if deferred {
            self.check_descriptor(local.is_zip64, &mut cursor).ok_or_else(|| {
                inconsistent(format!("the record behind entry {quoted} contradicts the central directory"))
            })?;
        }
        Ok(Place { data, end: self.offset + cursor.position() })
    }

    /// Reads the record behind the data: checksum and sizes once more, in the width of the local header.
    fn check_descriptor(&self, is_zip64: bool, cursor: &mut Cursor<'_>) -> Option<()> {
        if cursor.array()? != DESCRIPTOR || cursor.u32()? != self.crc {
            return None;
        }
        for _ in 0..2 {
            let size = if is_zip64 { cursor.u64()? } else { u64::from(cursor.u32()?) };
            if size != self.size as u64 {
                return None;
            }
        }
        Some(())
    }

    /// Tells whether the checksum was never computed: then it is zero, as that of nothing is rightly.
    fn lacks_checksum(&self) -> bool {
        self.crc == 0 && self.size > 0
    }

    /// Fails if the data are not those of the checksum.
    fn verify(&self, data: &[u8]) -> Result<(), FormatError> {
        let found = crc32(data);
        if found != self.crc {
            return Err(FormatError::Checksum { entry: self.name.to_owned(), expected: self.crc, found });
        }
        Ok(())
    }
}

/// Splits an entry's name into the root folder and the rest.
fn split_name(name: &[u8]) -> Result<(&str, &str), FormatError> {
    let refused = || FormatError::Refused(format!("an entry is named {}", Quoted(name)));
    let text = std::str::from_utf8(name).map_err(|_| refused())?;
    if !text.split('/').all(is_plain) {
        return Err(refused());
    }
    text.split_once('/').ok_or_else(|| inconsistent(format!("entry {} lies in no folder", Quoted(name))))
}
