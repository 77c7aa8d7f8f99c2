//! An entry and its place in the file: known from its name and size, before any of its bytes.

use super::{
    CENTRAL_HEADER, CENTRAL_HEADER_LEN, DESCRIPTOR, DESCRIPTOR_FOLLOWS, LOCAL_HEADER, LOCAL_HEADER_LEN,
    UTF8_NAMES, ZIP64_EXTRA,
};

/// Every entry's data begin at a multiple of this, so that a mapped file can be used in place.
pub(crate) const ALIGNMENT: u64 = 64;

/// Identifies the extra field that pads an entry up to the alignment.
const PADDING_EXTRA: [u8; 2] = *b"FB";
const PADDING: u8 = b'Z';
/// Identifier and length in front of an extra field.
const EXTRA_HEADER_LEN: usize = 4;
/// What entries in the zip64 form need, and the zip64 end record.
pub(super) const ZIP64_VERSION: u16 = 45;

/// What the headers say of an entry.
pub(super) struct Entry {
    /// With the root folder.
    pub(super) name: String,
    pub(super) size: u64,
    /// Where its header begins.
    offset: u64,
    /// Where its data begin.
    data_start: u64,
}

impl Entry {
    /// Places an entry whose header begins at `offset`.
    pub(super) fn place(name: String, size: u64, offset: u64) -> Entry {
        let mut entry = Entry { name, size, offset, data_start: offset };
        let extras = entry.local_zip64().len() + EXTRA_HEADER_LEN;
        let unpadded = LOCAL_HEADER_LEN + entry.name.len() + extras;
        entry.data_start = (offset + unpadded as u64).next_multiple_of(ALIGNMENT);
        entry
    }

    /// Returns where the next entry begins.
    pub(super) fn end(&self) -> u64 {
        let descriptor = match (self.has_descriptor(), self.narrow()) {
            (false, _) => 0,
            (true, Some(_)) => 16,
            (true, None) => 24,
        };
        self.data_start + self.size + descriptor
    }

    /// Returns the length of the entry's header in the directory.
    pub(super) fn central_header_len(&self) -> usize {
        CENTRAL_HEADER_LEN + self.name.len() + self.central_zip64().len()
    }

    /// Puts the header in front of the data, padded so that they begin at their place.
    pub(super) fn put_local_header(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        let header_len = (self.data_start - self.offset) as usize;
        let zip64 = self.local_zip64();
        let size: u32 = if zip64.is_empty() { 0 } else { u32::MAX };
        let extra_len = header_len - LOCAL_HEADER_LEN - self.name.len();
        out.extend(LOCAL_HEADER);
        out.extend(self.version_needed().to_le_bytes());
        out.extend(self.flags().to_le_bytes());
        out.extend([0; 6]); // method, time, date
        out.extend([0; 4]); // the checksum follows the data
        out.extend(size.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend(u16_len(self.name.len()));
        out.extend(u16_len(extra_len));
        out.extend(self.name.as_bytes());
        out.extend(&zip64);
        out.extend(PADDING_EXTRA);
        out.extend(u16_len(extra_len - zip64.len() - EXTRA_HEADER_LEN));
        out.resize(begin + header_len, PADDING);
    }

    /// Puts the record behind the data.
    pub(super) fn put_descriptor(&self, crc: u32, out: &mut Vec<u8>) {
        if !self.has_descriptor() {
            return;
        }
        out.extend(DESCRIPTOR);
        out.extend(crc.to_le_bytes());
        match self.narrow() {
            Some((size, _)) => out.extend([size.to_le_bytes(); 2].as_flattened()),
            None => out.extend([self.size.to_le_bytes(); 2].as_flattened()),
        }
    }

    /// Puts the entry's header in the directory.
    pub(super) fn put_central_header(&self, crc: u32, out: &mut Vec<u8>) {
        let (size, offset) = self.narrow().unwrap_or((u32::MAX, u32::MAX));
        let zip64 = self.central_zip64();
        out.extend(CENTRAL_HEADER);
        out.extend([0; 2]); // made by
        out.extend(self.version_needed().to_le_bytes());
        out.extend(self.flags().to_le_bytes());
        out.extend([0; 6]); // method, time, date
        out.extend(crc.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend(u16_len(self.name.len()));
        out.extend(u16_len(zip64.len()));
        out.extend([0; 10]); // comment, disk, attributes
        out.extend(offset.to_le_bytes());
        out.extend(self.name.as_bytes());
        out.extend(&zip64);
    }

    /// Returns size and offset if the entry ends within 4 GiB; all others take the zip64 form.
    fn narrow(&self) -> Option<(u32, u32)> {
        let end = self.offset.checked_add(self.size)?;
        (end < u64::from(u32::MAX)).then_some((self.size as u32, self.offset as u32))
    }

    fn local_zip64(&self) -> Vec<u8> {
        match self.narrow() {
            Some(_) => Vec::new(),
            None => zip64_extra(&[self.size, self.size]),
        }
    }

    fn central_zip64(&self) -> Vec<u8> {
        match self.narrow() {
            Some(_) => Vec::new(),
            None => zip64_extra(&[self.size, self.size, self.offset]),
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Places and sizes on both sides of 4 GiB.
    fn far() -> impl Strategy<Value = u64> {
        prop_oneof![0..200u64, (1 << 32) - 200..(1u64 << 32) + 200, (1u64 << 40)..(1 << 41)]
    }

    proptest! {
        #[test]
        fn headers_are_as_long_as_was_planned(name in "[a-zü/]{1,90}", size in far(), offset in far()) {
            let entry = Entry::place(name, size, offset);
            let (mut local, mut behind, mut central) = (Vec::new(), Vec::new(), Vec::new());
            entry.put_local_header(&mut local);
            entry.put_descriptor(7, &mut behind);
            entry.put_central_header(7, &mut central);
            prop_assert_eq!(offset + local.len() as u64, entry.data_start);
            prop_assert_eq!(entry.data_start % ALIGNMENT, 0);
            prop_assert_eq!(entry.data_start + size + behind.len() as u64, entry.end());
            prop_assert_eq!(central.len(), entry.central_header_len());
        }
    }
}
