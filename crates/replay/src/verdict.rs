//! What a replay says of a call.

use std::fmt;

/// The verdict on one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At least one value was compared and everything compared agrees.
    Passed,
    /// Something compared differs.
    Mismatch,
    /// The call could not be replayed, or the executor failed.
    Failed {
        /// Why.
        error: String,
    },
    /// The call has no recorded result: a suspected crash, or a recorded failure.
    Incomplete {
        /// What the replay of it did.
        outcome: Outcome,
    },
    /// The call ran, and there was nothing to compare.
    NothingCompared,
    /// The call was not run.
    Skipped {
        /// Why not.
        reason: String,
    },
    /// The call's files cannot be used.
    Damaged {
        /// What is wrong with them.
        reason: String,
    },
}

/// What the replay of an incomplete call did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned.
    Ran,
    /// It failed.
    Failed(String),
    /// It was not run.
    NotRun(String),
}

impl Verdict {
    /// Returns the one-word name, as `--json` prints it.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Mismatch => "mismatch",
            Verdict::Failed { .. } => "error",
            Verdict::Incomplete { .. } => "incomplete",
            Verdict::NothingCompared => "nothing_compared",
            Verdict::Skipped { .. } => "skipped",
            Verdict::Damaged { .. } => "damaged",
        }
    }

    /// Returns the reason or error behind the verdict, where it has one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Verdict::Failed { error } => Some(error),
            Verdict::Skipped { reason } | Verdict::Damaged { reason } => Some(reason),
            Verdict::Incomplete { outcome: Outcome::Failed(text) | Outcome::NotRun(text) } => Some(text),
            Verdict::Incomplete { outcome: Outcome::Ran }
            | Verdict::Passed
            | Verdict::Mismatch
            | Verdict::NothingCompared => None,
        }
    }
}

/// Writes the verdict as it stands behind a call's name in a report.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Passed => f.write_str("✅ Passed"),
            Verdict::Mismatch => f.write_str("⚠️  Mismatch"),
            Verdict::Failed { error } => write!(f, "❌ Error: {error}"),
            Verdict::Incomplete { outcome } => {
                f.write_str("❔ Incomplete (no recorded output): ")?;
                match outcome {
                    Outcome::Ran => f.write_str("ran"),
                    Outcome::Failed(text) => write!(f, "failed with {text}"),
                    Outcome::NotRun(text) => write!(f, "not run: {text}"),
                }
            }
            Verdict::NothingCompared => f.write_str("➖ Nothing compared"),
            Verdict::Skipped { reason } => write!(f, "➖ Skipped: {reason}"),
            Verdict::Damaged { reason } => write!(f, "❌ Error: damaged: {reason}"),
        }
    }
}

/// How often each verdict was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "one counter for each verdict of that name")]
pub struct Counts {
    pub passed: usize,
    pub mismatch: usize,
    pub error: usize,
    pub incomplete: usize,
    pub nothing_compared: usize,
    pub skipped: usize,
    pub damaged: usize,
}

impl Counts {
    /// Counts one verdict.
    pub fn add(&mut self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Passed => &mut self.passed,
            Verdict::Mismatch => &mut self.mismatch,
            Verdict::Failed { .. } => &mut self.error,
            Verdict::Incomplete { .. } => &mut self.incomplete,
            Verdict::NothingCompared => &mut self.nothing_compared,
            Verdict::Skipped { .. } => &mut self.skipped,
            Verdict::Damaged { .. } => &mut self.damaged,
        };
        *counter += 1;
    }

    /// Returns the calls that speak against the replay: mismatches, errors, damage.
    pub fn bad(&self) -> usize {
        self.mismatch + self.error + self.damaged
    }

    /// Returns the calls that neither passed nor speak against the replay.
    pub fn undecided(&self) -> usize {
        self.incomplete + self.nothing_compared + self.skipped
    }
}

/// Writes the closing lines of a report, `Summary: 22 passed, 0 failed/mismatch`; a second line counts the
/// undecided calls, if there are any.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Summary: {} passed, {} failed/mismatch", self.passed, self.bad())?;
        let rest = [
            (self.nothing_compared, "nothing compared"),
            (self.skipped, "skipped"),
            (self.incomplete, "incomplete"),
        ];
        let rest: Vec<_> =
            rest.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if !rest.is_empty() {
            write!(f, "\nNeither: {}", rest.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_the_documentation() {
        let text = |verdict: Verdict| verdict.to_string();
        assert_eq!(text(Verdict::Passed), "✅ Passed");
        assert_eq!(text(Verdict::Mismatch), "⚠️  Mismatch");
        assert_eq!(text(Verdict::Failed { error: "e".into() }), "❌ Error: e");
        assert_eq!(text(Verdict::NothingCompared), "➖ Nothing compared");
        assert_eq!(text(Verdict::Skipped { reason: "r".into() }), "➖ Skipped: r");
        assert_eq!(text(Verdict::Damaged { reason: "r".into() }), "❌ Error: damaged: r");
        let incomplete = |outcome| text(Verdict::Incomplete { outcome });
        assert_eq!(incomplete(Outcome::Ran), "❔ Incomplete (no recorded output): ran");
        assert_eq!(
            incomplete(Outcome::Failed("e".into())),
            "❔ Incomplete (no recorded output): failed with e"
        );
    }

    #[test]
    fn the_summary_has_a_second_line_only_where_something_is_left() {
        let mut counts = Counts { passed: 22, ..Counts::default() };
        assert_eq!(counts.to_string(), "Summary: 22 passed, 0 failed/mismatch");
        counts.add(&Verdict::Damaged { reason: String::new() });
        counts.add(&Verdict::NothingCompared);
        counts.add(&Verdict::Skipped { reason: String::new() });
        assert_eq!(
            counts.to_string(),
            "Summary: 22 passed, 1 failed/mismatch\nNeither: 1 nothing compared, 1 skipped"
        );
    }
}
