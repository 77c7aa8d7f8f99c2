//! How far a program said that it came, before it ended.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Its recording began.
    Begins,
    /// Its body runs.
    Runs,
    /// Its body returned.
    Returns,
    /// Its recording ended, and the application goes on.
    Ended,
}

/// The last stage of each call, by what the program calls it.
pub(crate) type Progress = BTreeMap<String, Stage>;

/// Reads what a program said: lines such as `runs 7`. Others, and one that was cut off, tell nothing.
pub(crate) fn progress_of(output: &Path) -> Progress {
    let text = fs::read_to_string(output).unwrap();
    let mut progress = Progress::new();
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let Some((word, call)) = line.split_once(' ') else { continue };
        let stage = match word {
            "begins" => Stage::Begins,
            "runs" => Stage::Runs,
            "returns" => Stage::Returns,
            "ended" => Stage::Ended,
            _ => continue,
        };
        let before = progress.insert(call.to_owned(), stage);
        assert!(before < Some(stage), "{call} {stage:?} after {before:?}");
    }
    progress
}
