//! `metadata.jsonl`: a call's own records, of which the last whole one is the truth.

use std::path::Path;

use callbox_core::{CallRecord, CallState, DumpedCall, ExecutionStatus, Finding, SourceError};

use crate::folder::{METADATA_FILE, place};
use crate::json::{self, Json};
use crate::jsonl::read_records;
use crate::open::Root;
use crate::record::read_record;

/// The last whole record of a call.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) json: Json,
    pub(crate) record: CallRecord,
    pub(crate) findings: Vec<Finding>,
}

/// Reads the records of the call whose folder is `relative`.
pub(crate) fn read_metadata(root: &Root, relative: &Path) -> Result<Metadata, SourceError> {
    let path = relative.join(METADATA_FILE);
    let no_record = || SourceError::NoRecord(root.path_of(&path));
    let file = root.file(&path)?.ok_or_else(no_record)?;
    let mut last: Option<(Json, CallRecord)> = None;
    let findings = read_records(file, &place(relative), &mut |_, line| {
        let json = json::parse(line)?;
        let record = read_record(&json)?;
        let remark = last.as_ref().and_then(|(_, earlier)| another_call(earlier, &record));
        last = Some((json, record));
        Ok(remark)
    });
    let (json, record) = last.ok_or_else(no_record)?;
    Ok(Metadata { json, record, findings })
}

/// Says so where two neighbouring records are about two calls.
fn another_call(earlier: &CallRecord, later: &CallRecord) -> Option<String> {
    let identity = |record: &CallRecord| {
        (record.function.clone(), record.call_sequence, record.process_id, record.origin.clone())
    };
    // An eager call's inputs are saved once. Two processes with one process id may share a folder.
    let begins_again = later.status == ExecutionStatus::InputsSaved && !later.graph_capture;
    (begins_again || identity(earlier) != identity(later))
        .then(|| "a second call was recorded into this folder; one of them has lost its tensors".to_owned())
}

/// Compares a call's own record with what the session's index says of it.
pub(crate) fn differences(call: &DumpedCall, record: &CallRecord, relative: &Path) -> Vec<Finding> {
    let differs = |what: &str, listed: &dyn ToString, recorded: &dyn ToString| Finding {
        place: place(relative),
        message: format!(
            "the session lists {what} {}, this record says {}: the record counts",
            listed.to_string(),
            recorded.to_string()
        ),
    };
    let mut findings = Vec::new();
    if call.function != record.function {
        findings.push(differs("function", &call.function, &record.function));
    }
    if call.call_sequence != record.call_sequence && record.call_sequence > 0 {
        findings.push(differs("call number", &call.call_sequence, &record.call_sequence));
    }
    if !can_follow(&call.state, &record.status) {
        findings.push(differs("status", &call.state.name(), &record.status));
    }
    findings
}

/// Tells whether a call whose last record has this status can be listed with that state.
fn can_follow(state: &CallState, status: &ExecutionStatus) -> bool {
    match state {
        CallState::Completed => *status == ExecutionStatus::Completed,
        CallState::InputsSaved | CallState::OutputsUnconfirmed | CallState::GraphCaptured => {
            *status == ExecutionStatus::InputsSaved
        }
        CallState::Failed => *status == ExecutionStatus::Failed,
        CallState::OutputsSkipped => *status == ExecutionStatus::OutputsSkipped,
        CallState::GraphPending => *status == ExecutionStatus::GraphCapturePendingFlush,
        // It was listed without a record; whatever is there now was not compared with anything.
        CallState::NotStarted | CallState::Damaged { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Sample, line, slot};

    fn read(metadata: &str) -> Result<Metadata, SourceError> {
        let sample = Sample::new();
        sample.write("call/metadata.jsonl", metadata);
        read_metadata(&Root::open(sample.path()).unwrap(), Path::new("call"))
    }

    #[test]
    fn every_cut_leaves_the_last_whole_line() {
        let (first, second) = (line(&slot(1), "inputs_saved"), line(&slot(1), "completed"));
        let both = first.clone() + &second;
        for cut in 0..=both.len() {
            match read(&both[..cut]) {
                Err(SourceError::NoRecord(path)) => {
                    assert!(path.ends_with("call/metadata.jsonl"));
                    assert!(cut < first.len() - 1, "cut at {cut}");
                }
                Err(error) => panic!("cut at {cut}: {error}"),
                Ok(Metadata { record, findings, .. }) => {
                    let completed = cut >= both.len() - 1;
                    assert_eq!(record.status == ExecutionStatus::Completed, completed, "cut at {cut}");
                    assert_eq!(findings.is_empty(), cut == first.len() || cut == both.len(), "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_last_line_that_is_no_record_leaves_the_one_before() {
        for last in
            ["[1, 2]", "{\"function_name\": \"f\"}", &line(&slot(1), "completed").replace("\"m\"", "7")]
        {
            let metadata = read(&(line(&slot(1), "inputs_saved") + last.trim() + "\n")).unwrap();
            assert_eq!(metadata.record.status, ExecutionStatus::InputsSaved, "{last}");
            assert!(metadata.findings[0].message.starts_with("line 2: "), "{:?}", metadata.findings);
        }
    }

    #[test]
    fn a_line_of_another_call_is_noticed() {
        let first = line(&slot(1), "inputs_saved");
        let other = line(&slot(2), "completed");
        let metadata = read(&(first.clone() + &other)).unwrap();
        assert_eq!(metadata.record.call_sequence, 2);
        assert!(
            metadata.findings[0].message.contains("a second call was recorded"),
            "{:?}",
            metadata.findings
        );
        assert_eq!(read(&first.repeat(2)).unwrap().findings.len(), 1);
        assert_eq!(read(&(first + &line(&slot(1), "completed").repeat(2))).unwrap().findings.len(), 0);
    }
}
