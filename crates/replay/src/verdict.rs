//! What a replay says of a call.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

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
    /// The call ended the process that ran it: only calls in a process of their own get this verdict.
    Died {
        /// How.
        death: Death,
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
    /// It ended the process that ran it: a suspected crash that does so is reproduced.
    Died(Death),
    /// It was not run.
    NotRun(String),
}

/// How a call ended the process that ran it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// By a signal, by its name: `SIGSEGV`.
    Crashed(String),
    /// It took longer than it may, and was killed.
    TimedOut(Duration),
    /// It wanted more memory than it may have, or than there was.
    OutOfMemory,
    /// Somebody killed it: as a rule the operating system, when memory ran out.
    Killed,
    /// It left with an exit code, as `exit` does.
    Exited(i32),
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Death::Crashed(signal) => write!(f, "crashed ({signal})"),
            Death::TimedOut(limit) => write!(f, "timed out after {} s", limit.as_secs_f64()),
            Death::OutOfMemory => f.write_str("out of memory"),
            Death::Killed => f.write_str("killed from outside (SIGKILL), probably out of memory"),
            Death::Exited(code) => write!(f, "exited with code {code} instead of returning"),
        }
    }
}

impl Verdict {
    /// Returns the one-word name, as `--json` prints it.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Mismatch => "mismatch",
            Verdict::Failed { .. } => "error",
            Verdict::Died { .. } => "died",
            Verdict::Incomplete { .. } => "incomplete",
            Verdict::NothingCompared => "nothing_compared",
            Verdict::Skipped { .. } => "skipped",
            Verdict::Damaged { .. } => "damaged",
        }
    }

    /// Returns the reason or error behind the verdict, where it has one.
    pub fn reason(&self) -> Option<Cow<'_, str>> {
        match self {
            Verdict::Failed { error } => Some(error.into()),
            Verdict::Skipped { reason } | Verdict::Damaged { reason } => Some(reason.into()),
            Verdict::Incomplete { outcome: Outcome::Failed(text) | Outcome::NotRun(text) } => {
                Some(text.into())
            }
            Verdict::Died { death } | Verdict::Incomplete { outcome: Outcome::Died(death) } => {
                Some(death.to_string().into())
            }
            Verdict::Incomplete { outcome: Outcome::Ran }
            | Verdict::Passed
            | Verdict::Mismatch
            | Verdict::NothingCompared => None,
        }
    }

    /// Returns how the call ended its process, where it did.
    pub fn death(&self) -> Option<&Death> {
        match self {
            Verdict::Died { death } | Verdict::Incomplete { outcome: Outcome::Died(death) } => Some(death),
            Verdict::Incomplete { outcome: Outcome::Ran | Outcome::Failed(_) | Outcome::NotRun(_) }
            | Verdict::Passed
            | Verdict::Mismatch
            | Verdict::Failed { .. }
            | Verdict::NothingCompared
            | Verdict::Skipped { .. }
            | Verdict::Damaged { .. } => None,
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
            Verdict::Died { death } => write!(f, "❌ Error: {death}"),
            Verdict::Incomplete { outcome } => {
                f.write_str("❔ Incomplete (no recorded output): ")?;
                match outcome {
                    Outcome::Ran => f.write_str("ran"),
                    Outcome::Failed(text) => write!(f, "failed with {text}"),
                    Outcome::Died(death) => death.fmt(f),
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
    pub died: usize,
    pub incomplete: usize,
    /// Those of the incomplete calls that ended their process again.
    pub incomplete_died: usize,
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
            Verdict::Died { .. } => &mut self.died,
            Verdict::Incomplete { .. } => &mut self.incomplete,
            Verdict::NothingCompared => &mut self.nothing_compared,
            Verdict::Skipped { .. } => &mut self.skipped,
            Verdict::Damaged { .. } => &mut self.damaged,
        };
        *counter += 1;
        if matches!(verdict, Verdict::Incomplete { outcome: Outcome::Died(_) }) {
            self.incomplete_died += 1;
        }
    }

    /// Returns the calls that speak against the replay: mismatches, errors, deaths, damage.
    pub fn bad(&self) -> usize {
        self.mismatch + self.error + self.died + self.damaged
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
        if self.incomplete_died > 0 {
            write!(f, " ({} died)", self.incomplete_died)?;
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
        let died =
            |death: Death| (text(Verdict::Died { death: death.clone() }), incomplete(Outcome::Died(death)));
        for (death, how) in [
            (Death::Crashed("SIGSEGV".into()), "crashed (SIGSEGV)"),
            (Death::TimedOut(Duration::from_secs(300)), "timed out after 300 s"),
            (Death::TimedOut(Duration::from_millis(500)), "timed out after 0.5 s"),
            (Death::OutOfMemory, "out of memory"),
            (Death::Killed, "killed from outside (SIGKILL), probably out of memory"),
            (Death::Exited(0), "exited with code 0 instead of returning"),
        ] {
            let lines = (format!("❌ Error: {how}"), format!("❔ Incomplete (no recorded output): {how}"));
            assert_eq!(died(death), lines);
        }
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
        counts.add(&Verdict::Died { death: Death::OutOfMemory });
        counts.add(&Verdict::Incomplete { outcome: Outcome::Ran });
        counts.add(&Verdict::Incomplete { outcome: Outcome::Died(Death::Exited(1)) });
        assert_eq!(
            counts.to_string(),
            "Summary: 22 passed, 2 failed/mismatch\nNeither: 1 nothing compared, 1 skipped, 2 incomplete (1 died)"
        );
    }
}
