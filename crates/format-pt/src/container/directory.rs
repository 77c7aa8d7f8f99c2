//! The records at the end of the file that say where its directory is.

use std::ops::Range;

use callbox_core::FormatError;

use super::{
    CENTRAL_HEADER_LEN, END, END_LEN, ZIP64_END, ZIP64_END_LEN, ZIP64_LOCATOR, ZIP64_LOCATOR_LEN,
    inconsistent,
};
use crate::cursor::Cursor;

/// Where the central directory lies and how many entries it declares.
pub(super) struct Directory {
    pub(super) range: Range<usize>,
    pub(super) entries: usize,
}

impl Directory {
    /// Follows the records at the end of the file, which must agree with each other and with its size.
    pub(super) fn find(bytes: &[u8]) -> Result<Directory, FormatError> {
        let cut = || FormatError::Truncated("no zip end record stands at the end of the file".to_owned());
        let end_at = bytes.len().checked_sub(END_LEN).ok_or_else(cut)?;
        let end = EndRecord::read(&mut Cursor::new(&bytes[end_at..])).ok_or_else(cut)?;
        let locator_at = end_at.checked_sub(ZIP64_LOCATOR_LEN);
        let zip64 = locator_at.filter(|&at| bytes[at..].starts_with(&ZIP64_LOCATOR));
        let (end, directory_end) = match zip64 {
            Some(locator_at) => (end.widened(bytes, locator_at)?, locator_at - ZIP64_END_LEN),
            None => (end, end_at),
        };

        let start = usize::try_from(end.offset).ok();
        let size = usize::try_from(end.size).ok();
        let range = match (start, size) {
            (Some(start), Some(size)) if start.checked_add(size) == Some(directory_end) => {
                start..directory_end
            }
            _ => {
                return Err(inconsistent("the central directory does not lie where the end record says"));
            }
        };
        let room = (range.len() / CENTRAL_HEADER_LEN) as u64;
        if end.entries > room {
            return Err(inconsistent(format!(
                "the end record declares {} entries, the central directory has room for {room}",
                end.entries
            )));
        }
        Ok(Directory { range, entries: end.entries as usize })
    }
}

/// The end record, or its zip64 form.
struct EndRecord {
    entries: u64,
    size: u64,
    offset: u64,
}

impl EndRecord {
    /// Reads the record that closes the file: a comment or a second disk would be somebody else's zip.
    fn read(cursor: &mut Cursor<'_>) -> Option<EndRecord> {
        if cursor.array()? != END || cursor.u16()? != 0 || cursor.u16()? != 0 {
            return None;
        }
        let on_this_disk = cursor.u16()?;
        let entries = cursor.u16()?;
        let (size, offset) = (cursor.u32()?, cursor.u32()?);
        let comment_len = cursor.u16()?;
        (on_this_disk == entries && comment_len == 0).then_some(EndRecord {
            entries: u64::from(entries),
            size: u64::from(size),
            offset: u64::from(offset),
        })
    }

    fn read_zip64(bytes: &[u8], locator_at: usize) -> Option<EndRecord> {
        let record_at = locator_at.checked_sub(ZIP64_END_LEN)?;
        let mut locator = Cursor::new(&bytes[locator_at..]);
        let _signature = locator.u32()?;
        if locator.u32()? != 0 || locator.u64()? != record_at as u64 || locator.u32()? > 1 {
            return None;
        }
        let mut record = Cursor::new(&bytes[record_at..]);
        if record.array()? != ZIP64_END || record.u64()? != (ZIP64_END_LEN - 12) as u64 {
            return None;
        }
        let _versions = record.u32()?;
        if record.u32()? != 0 || record.u32()? != 0 {
            return None;
        }
        let on_this_disk = record.u64()?;
        let entries = record.u64()?;
        (on_this_disk == entries).then_some(EndRecord { entries, size: record.u64()?, offset: record.u64()? })
    }

    /// Returns the zip64 record that stands before this one; each field must hold the same or refer to it.
    fn widened(&self, bytes: &[u8], locator_at: usize) -> Result<EndRecord, FormatError> {
        let wide = EndRecord::read_zip64(bytes, locator_at)
            .ok_or_else(|| inconsistent("the zip64 end record is damaged"))?;
        let agrees = |narrow: u64, wide: u64, limit: u64| narrow == wide || narrow == limit;
        let u32_max = u64::from(u32::MAX);
        if agrees(self.entries, wide.entries, u64::from(u16::MAX))
            && agrees(self.size, wide.size, u32_max)
            && agrees(self.offset, wide.offset, u32_max)
        {
            Ok(wide)
        } else {
            Err(inconsistent("the two end records contradict each other"))
        }
    }
}
