//! Files that nobody should trust, built by code, and what the readers have to say of each.
//!
//! One table for all who need such files: the formats' own tests, the tests of memory and time, and the fuzz
//! targets, which begin with them. Nothing in them is alive: what would run if a reader ran it makes a file `pwned`.

mod containers;
mod folders;
pub mod forge;
mod headers;
mod pickles;
mod records;
mod tensors;

use callbox_core::{FormatError, SourceError};

pub use folders::{FolderCase, Place, folders};
pub use records::{FOLDER, inputs, line};

/// One hostile file.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is wrong with it, as a name: `deflate_bomb`.
    pub name: String,
    /// What it pretends to be.
    pub kind: Kind,
    /// The file.
    pub bytes: Vec<u8>,
    /// What reading it has to give.
    pub expected: Expected,
}

/// What a hostile file pretends to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file that `torch.save` wrote.
    Pt,
    /// A safetensors file.
    Safetensors,
    /// The records of one call: `metadata.jsonl`.
    Records,
}

/// What reading a hostile file has to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// An error of this kind, whose message says this.
    Refused(Refusal, String),
    /// Its contents, with a remark that says this.
    Noted(String),
    /// Its contents, which look strange and are what FlashInfer or torch may write.
    Read,
    /// Its contents, of which a replay makes no call: its verdict says this.
    NotReplayed(String),
}

/// The kinds of errors that refuse a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each stands for the variant of that name")]
pub enum Refusal {
    NotThisFormat,
    Truncated,
    Inconsistent,
    Checksum,
    Refused,
    Unsupported,
    Limit,
    Tensor,
    NoRecord,
    UnsafePath,
    /// Any other one.
    Other,
}

impl Refusal {
    /// Tells the kind of a format's error.
    pub fn of_format(error: &FormatError) -> Refusal {
        match error {
            FormatError::NotThisFormat { .. } => Refusal::NotThisFormat,
            FormatError::Truncated(_) => Refusal::Truncated,
            FormatError::Inconsistent(_) => Refusal::Inconsistent,
            FormatError::Checksum { .. } => Refusal::Checksum,
            FormatError::Refused(_) => Refusal::Refused,
            FormatError::Unsupported(_) => Refusal::Unsupported,
            FormatError::Limit(_) => Refusal::Limit,
            FormatError::Tensor { .. } => Refusal::Tensor,
            _ => Refusal::Other,
        }
    }

    /// Tells the kind of a source's error.
    pub fn of_source(error: &SourceError) -> Refusal {
        match error {
            SourceError::Format { source, .. } => Refusal::of_format(source),
            SourceError::NoRecord { .. } => Refusal::NoRecord,
            SourceError::UnsafePath { .. } => Refusal::UnsafePath,
            _ => Refusal::Other,
        }
    }
}

/// Builds every hostile file.
pub fn all() -> Vec<Case> {
    let tables =
        [containers::cases(), pickles::cases(), tensors::cases(), headers::cases(), records::cases()];
    tables.concat()
}

/// Builds the hostile files of one kind.
pub fn of_kind(kind: Kind) -> impl Iterator<Item = Case> {
    all().into_iter().filter(move |case| case.kind == kind)
}

/// A case of a format's file that is refused.
fn refused(kind: Kind, name: &str, bytes: Vec<u8>, refusal: Refusal, says: &str) -> Case {
    Case { name: name.to_owned(), kind, bytes, expected: Expected::Refused(refusal, says.to_owned()) }
}

/// A case of a format's file that is read.
fn read(kind: Kind, name: &str, bytes: Vec<u8>) -> Case {
    Case { name: name.to_owned(), kind, bytes, expected: Expected::Read }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_cases_have_one_name() {
        let mut names = HashSet::new();
        for case in all() {
            assert!(names.insert((case.kind as u8, case.name.clone())), "{} {:?}", case.name, case.kind);
        }
        assert!(names.len() >= 80, "{}", names.len());
    }
}
