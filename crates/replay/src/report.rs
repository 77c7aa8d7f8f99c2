//! What a report says of a replayed call.

use callbox_core::{CallRecord, DumpSource, DumpedCall, Finding, OwnedValue, RecordedError};

use crate::compare::Comparison;
use crate::dump::{Replayed, believe_record, is_incomplete};
use crate::verdict::{Death, Outcome, Verdict};

/// A replayed call without its values: its verdict, and what a person wants to know behind it.
///
/// It is small whatever the call's tensors are, and it can be told from one process to another.
#[derive(Clone, Debug)]
pub struct CallReport {
    /// The call, in the state that its own record tells.
    pub call: DumpedCall,
    /// The verdict.
    pub verdict: Verdict,
    /// How the recorded call failed, where its record knows it.
    pub recorded_error: Option<RecordedError>,
    /// Why its outputs were not recorded, where its record knows it.
    pub recorded_reason: Option<String>,
    /// What the replay returned, in words, where it could not be compared.
    pub returned: Option<String>,
    /// How the result compares.
    pub comparison: Option<Comparison>,
    /// Remarks about the call's files.
    pub findings: Vec<Finding>,
    /// The last that the call's process printed, where the call ended it.
    pub printed: Option<String>,
    /// Nothing was tried, for a reason that is not the call's: another time it may get another verdict.
    pub is_untried: bool,
}

impl CallReport {
    /// Reports on a replayed call; `describe` puts a result into words that could not be compared.
    pub fn new(replayed: Replayed, describe: &dyn Fn(&OwnedValue) -> String) -> CallReport {
        let Replayed { call, verdict, record, result, comparison, findings, is_untried, .. } = replayed;
        let returned = result.filter(|_| comparison.is_none());
        let mut report = CallReport::without_run(&call, verdict);
        report.returned = returned.as_ref().map(describe);
        report.comparison = comparison;
        report.findings = findings;
        report.is_untried = is_untried;
        report.with_record(record)
    }

    /// Reports on a call that gave no verdict itself.
    pub fn without_run(call: &DumpedCall, verdict: Verdict) -> CallReport {
        CallReport {
            call: call.clone(),
            verdict,
            recorded_error: None,
            recorded_reason: None,
            returned: None,
            comparison: None,
            findings: Vec::new(),
            printed: None,
            is_untried: false,
        }
    }

    /// Reports on a call that ended the process it ran in.
    ///
    /// What its record tells is read here: the process took its own report with it.
    pub fn of_death(source: &dyn DumpSource, call: &DumpedCall, death: Death, printed: String) -> CallReport {
        let mut report = CallReport::without_run(call, Verdict::Died { death: death.clone() });
        report.printed = Some(printed).filter(|printed| !printed.is_empty());
        if let Ok(loaded) = source.record(call) {
            believe_record(&mut report.call, &loaded.record);
            report.findings = loaded.findings;
            report = report.with_record(Some(loaded.record));
        }
        if is_incomplete(&report.call.state) {
            report.verdict = Verdict::Incomplete { outcome: Outcome::Died(death) };
        }
        report
    }

    fn with_record(mut self, record: Option<CallRecord>) -> CallReport {
        if let Some(record) = record {
            self.recorded_error = record.error;
            self.recorded_reason = record.reason;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use callbox_core::{ExecutionStatus, Value};
    use callbox_testkit::{MemorySource, sample};

    use super::*;

    #[test]
    fn a_death_is_incomplete_where_nothing_says_that_the_call_returned() {
        for (status, incomplete) in
            [(ExecutionStatus::Completed, false), (ExecutionStatus::InputsSaved, true)]
        {
            let mut source = MemorySource::default();
            let mut record = sample::record("toy", "f");
            record.output_metadata.push(("result".to_owned(), Value::None));
            (record.status, record.reason) = (status, Some("no room".to_owned()));
            let call = source.push(record, &[]);
            let report = CallReport::of_death(&source, &call, Death::OutOfMemory, String::new());
            assert_eq!(matches!(report.verdict, Verdict::Incomplete { .. }), incomplete);
            assert_eq!(report.verdict.death(), Some(&Death::OutOfMemory));
            assert_eq!((report.recorded_reason.as_deref(), report.printed), (Some("no room"), None));
        }
    }
}
