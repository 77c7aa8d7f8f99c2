//! The headers of an entry, in the directory and in front of its data.

use super::{CENTRAL_HEADER, LOCAL_HEADER, ZIP64_EXTRA};
use crate::cursor::Cursor;

/// The fields that the central and the local header of an entry have in common.
pub(super) struct Header<'a> {
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) stored_size: u64,
    pub(super) size: u64,
    pub(super) name: &'a [u8],
    /// Offset of the local header, in the central header.
    pub(super) offset: u64,
    /// Made on Unix, as a symbolic link; in the central header.
    pub(super) is_link: bool,
    /// There is an extra field with 64-bit sizes.
    pub(super) is_zip64: bool,
}

impl<'a> Header<'a> {
    pub(super) fn read_central(cursor: &mut Cursor<'a>) -> Option<Header<'a>> {
        if cursor.array()? != CENTRAL_HEADER {
            return None;
        }
        let made_by = cursor.u16()?;
        let _needed = cursor.u16()?;
        let (flags, method) = (cursor.u16()?, cursor.u16()?);
        let _time_and_date = cursor.u32()?;
        let crc = cursor.u32()?;
        let (stored_size, size) = (cursor.u32()?, cursor.u32()?);
        let (name_len, extra_len, comment_len) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
        let _disk_and_internal_attributes = cursor.u32()?;
        let attributes = cursor.u32()?;
        let offset = cursor.u32()?;
        let name = cursor.take(usize::from(name_len))?;
        let mut wide = Zip64::find(cursor.take(usize::from(extra_len))?);
        cursor.take(usize::from(comment_len))?;
        Some(Header {
            flags,
            method,
            crc,
            // The order in which the extra field holds them.
            size: wide.or_wider(size)?,
            stored_size: wide.or_wider(stored_size)?,
            offset: wide.or_wider(offset)?,
            name,
            is_zip64: wide.0.is_some(),
            is_link: made_by >> 8 == UNIX && attributes >> 28 == UNIX_LINK,
        })
    }

    pub(super) fn read_local(cursor: &mut Cursor<'a>) -> Option<Header<'a>> {
        if cursor.array()? != LOCAL_HEADER {
            return None;
        }
        let _needed = cursor.u16()?;
        let (flags, method) = (cursor.u16()?, cursor.u16()?);
        let _time_and_date = cursor.u32()?;
        let crc = cursor.u32()?;
        let (stored_size, size) = (cursor.u32()?, cursor.u32()?);
        let (name_len, extra_len) = (cursor.u16()?, cursor.u16()?);
        let name = cursor.take(usize::from(name_len))?;
        let mut wide = Zip64::find(cursor.take(usize::from(extra_len))?);
        Some(Header {
            flags,
            method,
            crc,
            size: wide.or_wider(size)?,
            stored_size: wide.or_wider(stored_size)?,
            offset: 0,
            name,
            is_zip64: wide.0.is_some(),
            is_link: false,
        })
    }
}

const UNIX: u16 = 3;
const UNIX_LINK: u32 = 0xa;

/// The 64-bit values of an extra field, if there is one, in the order in which headers refer to them.
struct Zip64<'a>(Option<Cursor<'a>>);

impl<'a> Zip64<'a> {
    fn find(extra: &'a [u8]) -> Zip64<'a> {
        let mut fields = Cursor::new(extra);
        while let (Some(id), Some(len)) = (fields.u16(), fields.u16()) {
            match fields.take(usize::from(len)) {
                Some(value) if id == ZIP64_EXTRA => return Zip64(Some(Cursor::new(value))),
                Some(_) => {}
                None => break,
            }
        }
        Zip64(None)
    }

    /// Returns the value, or the next wide one where the value says that it did not fit.
    fn or_wider(&mut self, value: u32) -> Option<u64> {
        match value {
            u32::MAX => self.0.as_mut()?.u64(),
            value => Some(u64::from(value)),
        }
    }
}
