//! How much a dump takes of what is left.

use crate::dump_file::Line;
use crate::planted;
use crate::ports::DumpSink;
use crate::record::{CallRecord, RecordedError};

/// A closing line may be longer than the first by this much without asking the budget again.
const CLOSING_EXTRA_BYTES: u64 = 1024;
/// Letters of an error's type and text that always fit there, twelve bytes each at worst.
pub(super) const SHORT_TEXT: usize = 36;
/// A line that begins behind a torn one closes it with a newline of its own.
const REPAIR_BYTES: u64 = 1;

/// Tells whether `floor` bytes stay free when `bytes` are written; an error gives the bytes that are free now.
///
/// It is asked before a file is begun, so files that are written at the same time may go below it together.
pub(crate) fn keep_free(sink: &dyn DumpSink, floor: u64, bytes: u64) -> Result<(), u64> {
    if floor == 0 || planted::bug("floor_ignored") {
        return Ok(());
    }
    // A sink that cannot tell is asked to write, and says what is wrong then.
    match sink.free_bytes() {
        Ok(Some(free)) if free < floor.saturating_add(bytes) => Err(free),
        Ok(Some(_) | None) | Err(_) => Ok(()),
    }
}

/// What the first lines of a call and its last ones may take, in both files.
pub(super) fn reserve_of(line: &Line) -> u64 {
    2 * opening_bytes(line) + 2 * closing_bytes(line)
}

/// What a line may take in a file.
pub(super) fn opening_bytes(line: &Line) -> u64 {
    line.byte_len() + REPAIR_BYTES
}

/// What the closing line of a call without outputs may take, given its first.
pub(super) fn closing_bytes(line: &Line) -> u64 {
    opening_bytes(line) + CLOSING_EXTRA_BYTES
}

/// Says of an ending what fits into the reserve for it: the first record with another status, and texts cut.
pub(super) fn shortened(first: &CallRecord, closing: &CallRecord, letters: usize) -> CallRecord {
    let cut = |text: &str| match text.char_indices().nth(letters) {
        Some((place, _)) => format!("{}...", &text[..place]),
        None => text.to_owned(),
    };
    CallRecord {
        status: closing.status.clone(),
        error: closing.error.as_ref().map(|error| RecordedError {
            kind: error.kind.clone(),
            type_name: cut(&error.type_name),
            text: cut(&error.text),
        }),
        reason: closing.reason.as_deref().map(cut),
        ..first.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_take_itself_and_a_newline_before_it_in_both_files() {
        let line = Line::new(b"{}\n".to_vec());
        assert_eq!(opening_bytes(&line), 4);
        assert_eq!(reserve_of(&line), 2 * 4 + 2 * (4 + CLOSING_EXTRA_BYTES));
    }
}
