//! What a dump's files are: the format of tensors, a file that is planned and one that is written, a line of records.

use crate::record::FileHash;

/// A file format for tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Name in a record's `tensor_format`: `torch`, `safetensors`.
    pub name: &'static str,
    /// File extension without its dot.
    pub extension: &'static str,
    /// Strides, offsets and shared storage survive.
    pub keeps_layout: bool,
}

/// A file of tensors that is still to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlan {
    /// The format.
    pub format: Format,
    /// Exact size of the file in bytes.
    pub bytes: u64,
    /// How the hash of the file will be spelled, digits of no meaning: its line is as long as the one to come. A
    /// format leaves that to the sink.
    pub hash: Option<FileHash>,
    /// What a user should know of how these tensors are kept; empty as a rule.
    pub remarks: Vec<Remark>,
}

/// A file of tensors that is visible under its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenFile {
    /// Its size in bytes.
    pub bytes: u64,
    /// The hash of the bytes that were written, where the sink computes one.
    pub hash: Option<FileHash>,
    /// Tensors changed while they were written: the file may hold what none of them ever was.
    pub is_unstable: bool,
}

/// Something about a file that is told once, however many files it holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Of remarks of one kind the first is told.
    pub kind: &'static str,
    /// A sentence for the log.
    pub text: String,
}

/// A record as it stands in a file: one line with its newline, of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(Box<[u8]>);

impl Line {
    /// The longest line that readers take, in bytes.
    pub const LONGEST: u64 = 16 << 20;

    /// Takes a line that ends with its only newline.
    ///
    /// # Panics
    ///
    /// On anything else: readers would see another number of records than were written.
    pub fn new(line: Vec<u8>) -> Line {
        let newline = line.iter().position(|&byte| byte == b'\n');
        assert_eq!(newline.map(|place| place + 1), Some(line.len()), "a record is one whole line");
        Line(line.into_boxed_slice())
    }

    /// Returns the bytes, the newline among them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the number of bytes, the newline among them.
    pub fn byte_len(&self) -> u64 {
        self.0.len() as u64
    }
}
