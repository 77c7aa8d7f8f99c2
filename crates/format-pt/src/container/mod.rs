//! The container: a zip archive whose entries are stored as they are, all inside one folder.
//!
//! The layout is that of torch's `PyTorchStreamWriter`: zip as PKWARE's APPNOTE 6.3 describes it, every entry's
//! data at a multiple of 64 bytes, checksum and sizes behind the data, zip64 end records always present.

mod checksum;
mod directory;
mod entry;
mod foreign;
mod header;
mod read;
mod write;

pub(crate) use entry::ALIGNMENT;
pub(crate) use foreign::refuse as refuse_foreign;
pub(crate) use read::Archive;
pub(crate) use write::{ArchivePlan, ArchiveWriter, EntryWriter};

use callbox_core::FormatError;

/// The pickle that says which tensors there are.
pub(crate) const PICKLE: &str = "data.pkl";
/// `little` or `big`; files before torch 2.1 do not say.
pub(crate) const BYTE_ORDER: &str = "byteorder";
/// Version of the container.
pub(crate) const VERSION: &str = "version";

const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
const CENTRAL_HEADER: [u8; 4] = *b"PK\x01\x02";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const END: [u8; 4] = *b"PK\x05\x06";
const ZIP64_END: [u8; 4] = *b"PK\x06\x06";
const ZIP64_LOCATOR: [u8; 4] = *b"PK\x06\x07";

const LOCAL_HEADER_LEN: usize = 30;
const CENTRAL_HEADER_LEN: usize = 46;
const END_LEN: usize = 22;
const ZIP64_END_LEN: usize = 56;
const ZIP64_LOCATOR_LEN: usize = 20;

/// Flag: the local header has neither checksum nor sizes, they follow the data.
const DESCRIPTOR_FOLLOWS: u16 = 1 << 3;
/// Flag: names are UTF-8.
const UTF8_NAMES: u16 = 1 << 11;
/// Identifies the extra field of 64-bit sizes and offsets.
const ZIP64_EXTRA: u16 = 1;

fn inconsistent(reason: impl Into<String>) -> FormatError {
    FormatError::Inconsistent(reason.into())
}

/// Tells whether a part of an entry's name names a folder or a file and nothing else.
fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0'])
}
