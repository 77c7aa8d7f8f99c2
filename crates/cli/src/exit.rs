//! What the process answers: one code for each kind of ending.

use std::process::ExitCode;

use callbox_convert::Report;
use callbox_core::SourceError;
use callbox_replay::Counts;

/// How the command ended. The numbers are documented in `--help` and the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Nothing speaks against the recorded calls.
    Good = 0,
    /// A call mismatches, fails or is damaged; a conversion has deviations; a file is damaged.
    Bad = 1,
    /// The command line is wrong; clap uses the same number.
    Usage = 2,
    /// The folder cannot be read as a session or a call, or the output cannot be written.
    Unreadable = 3,
    /// No call passed, or no file was there: there is nothing to conclude from.
    NothingPassed = 4,
    /// The device is not available.
    NoDevice = 5,
}

impl Exit {
    /// Judges a replay.
    pub(crate) fn from_counts(counts: &Counts, strict: bool) -> Exit {
        match counts {
            counts if counts.bad() > 0 || (strict && counts.undecided() > 0) => Exit::Bad,
            Counts { passed: 0, .. } => Exit::NothingPassed,
            _ => Exit::Good,
        }
    }

    /// Judges a conversion.
    pub(crate) fn from_report(report: &Report) -> Exit {
        if report.deviations.is_empty() { Exit::Good } else { Exit::Bad }
    }

    /// Judges a look at every file.
    pub(crate) fn from_verification(report: &callbox_verify::Report) -> Exit {
        match report {
            report if !report.damages.is_empty() => Exit::Bad,
            report if report.has_checked() => Exit::Good,
            _ => Exit::NothingPassed,
        }
    }

    /// Returns the number.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.number())
    }
}

/// A failure that ends the command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code to end with.
    pub(crate) exit: Exit,
    /// What happened and what to do, in one line.
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// Pairs a message with the code to end with.
    pub(crate) fn new(exit: Exit, message: String) -> Failure {
        Failure { exit, error: anyhow::Error::msg(message) }
    }
}

/// A session that cannot be read.
impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Failure {
        Failure { exit: Exit::Unreadable, error: error.into() }
    }
}

/// Output that cannot be written.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        let error = anyhow::Error::from(error).context("failed to write the output");
        Failure { exit: Exit::Unreadable, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_code_that_applies_is_taken() {
        let counts = |passed, mismatch, skipped| Counts { passed, mismatch, skipped, ..Counts::default() };
        for (counts, strict, exit) in [
            (counts(3, 0, 0), false, Exit::Good),
            (counts(3, 0, 1), false, Exit::Good),
            (counts(3, 0, 1), true, Exit::Bad),
            (counts(3, 1, 0), false, Exit::Bad),
            (counts(0, 1, 0), false, Exit::Bad),
            (counts(0, 0, 5), false, Exit::NothingPassed),
            (counts(0, 0, 0), true, Exit::NothingPassed),
        ] {
            assert_eq!(Exit::from_counts(&counts, strict), exit, "{counts:?} strict {strict}");
        }
    }
}
