//! What a call's records say of the files of tensors beside them, and whether the records themselves are whole.

use std::io::Read;
use std::path::Path;

use callbox_core::{Finding, RecordedFile, SourceError};

use crate::fields::Fields;
use crate::folder::{METADATA_FILE, place};
use crate::hash::{Seal, seal_of};
use crate::json::{self, Scanner};
use crate::jsonl::{LineError, read_records};
use crate::lines::LineReader;
use crate::open::Root;
use crate::record::{read_files, read_record};

/// Finds what is recorded of a file; the last record that names it counts. `None`: nothing, as in FlashInfer's own
/// records.
pub(crate) fn recorded_file(root: &Root, path: &Path) -> Result<Option<RecordedFile>, SourceError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let (Some(file), Some(name)) = (root.file(&folder.join(METADATA_FILE))?, path.file_name()) else {
        return Ok(None);
    };
    let mut found = None;
    // What is wrong with the lines is told by those who read records.
    read_records(LineReader::of_file(file), &place(folder), &mut |_, line| {
        let files = files_of(line)?;
        found = files.into_iter().find(|file| *file.name == *name).or(found.take());
        Ok(None)
    });
    Ok(found)
}

/// Reads the files of one line without building the rest of it.
fn files_of(line: &[u8]) -> Result<Vec<RecordedFile>, LineError> {
    let mut text = None;
    let mut scanner = Scanner::new(line)?;
    scanner.object(|scanner, key| match &*key.to_bytes() {
        b"tensor_files" => {
            text = Some(scanner.raw()?);
            Ok(())
        }
        _ => scanner.skip(),
    })?;
    scanner.end()?;
    match text {
        None | Some(b"null") => Ok(Vec::new()),
        Some(text) => Ok(read_files(Fields::of(&json::parse(text)?, "tensor_files")?)?),
    }
}

/// What came of reading every line of a file of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordsCheck {
    /// Records that were read.
    pub records: usize,
    /// Those among them whose content agrees with the hash at their end.
    pub with_hash: usize,
    /// Lines that gave no record.
    pub losses: Vec<Finding>,
    /// What is odd about the file and costs nothing.
    pub remarks: Vec<Finding>,
}

/// Reads every line of a file of records, each as a whole.
pub(crate) fn check_records(input: impl Read, place: &str) -> RecordsCheck {
    let mut check = RecordsCheck::default();
    let faults = read_records(LineReader::new(input), place, &mut |_, line| {
        read_record(&json::parse(line)?)?;
        check.records += 1;
        check.with_hash += usize::from(seal_of(line) == Seal::Whole);
        Ok(None)
    });
    for (number, finding) in faults.findings.into_iter().enumerate() {
        let list = if faults.losses.contains(&number) { &mut check.losses } else { &mut check.remarks };
        list.push(finding);
    }
    check
}
