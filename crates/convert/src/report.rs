//! What a conversion came to.

use std::fmt;

use callbox_core::Finding;

/// What a conversion came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Calls of the session, whatever became of them.
    pub calls: usize,
    /// What did not come out as asked, in the session's order; empty where all went well.
    pub deviations: Vec<Deviation>,
    /// Names beside the calls that are no calls, sorted; they are not taken along.
    pub beside: Vec<String>,
    /// Remarks about the session's files.
    pub findings: Vec<Finding>,
    /// The counts.
    pub totals: Totals,
}

/// Counts of files and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files of tensors that were written in the new format.
    pub converted: usize,
    /// Files of tensors that were in the new format already.
    pub already: usize,
    /// Files that were copied byte for byte, those in the new format among them.
    pub copied: usize,
    /// Records that were rewritten, in all files.
    pub records: usize,
    /// Size of the files that were taken along, in bytes.
    pub bytes_before: u64,
    /// Size of the files that were written, in bytes.
    pub bytes_after: u64,
    /// Tensors whose strides, offset, shared storage or marks the new format does not keep.
    pub layouts_lost: usize,
}

/// Something that did not come out as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// In which way.
    pub kind: DeviationKind,
    /// The call's folder, or a file, relative to the session.
    pub place: String,
    /// Why, or what is wrong.
    pub reason: String,
}

/// In which way something did not come out as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviationKind {
    /// It was copied in the format it had, which holds what the new one cannot.
    Kept,
    /// The call is damaged: its files were copied as they are.
    Damaged,
    /// It was not taken along.
    LeftOut,
    /// What was written reads back otherwise.
    Differs,
}

impl DeviationKind {
    /// Every kind, in the order in which they are counted.
    pub const ALL: [DeviationKind; 4] =
        [DeviationKind::Kept, DeviationKind::Damaged, DeviationKind::LeftOut, DeviationKind::Differs];

    /// Returns the one-word name.
    pub fn name(self) -> &'static str {
        match self {
            DeviationKind::Kept => "kept",
            DeviationKind::Damaged => "damaged",
            DeviationKind::LeftOut => "left_out",
            DeviationKind::Differs => "differs",
        }
    }
}

impl Report {
    /// Counts the deviations of a kind.
    pub fn count(&self, kind: DeviationKind) -> usize {
        self.deviations.iter().filter(|deviation| deviation.kind == kind).count()
    }

    pub(crate) fn deviate(
        &mut self,
        kind: DeviationKind,
        place: impl Into<String>,
        reason: impl Into<String>,
    ) {
        self.deviations.push(Deviation { kind, place: place.into(), reason: reason.into() });
    }
}

/// Writes `PLACE: REASON`.
impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}
