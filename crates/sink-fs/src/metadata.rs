//! `metadata.jsonl`: a call's own records, of which the last whole one is the truth.

use std::path::Path;

use callbox_core::{CallRecord, CallState, DumpedCall, ExecutionStatus, Finding, SourceError};

use crate::folder::{METADATA_FILE, place};
use crate::json::{self, Json};
use crate::jsonl::read_records;
use crate::lines::LineReader;
use crate::open::Root;
use crate::record::{origin_remark, read_record};
use crate::second_call::{Identity, has_ended, second_call};

/// The last whole record of a call.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) record: CallRecord,
    pub(crate) findings: Vec<Finding>,
}

/// Reads the records of the call whose folder is `relative`.
pub(crate) fn read_metadata(root: &Root, relative: &Path) -> Result<Metadata, SourceError> {
    read_last(root, relative, &mut |_| ())
}

/// Reads the last whole record as it was written, with every key.
pub(crate) fn read_metadata_json(root: &Root, relative: &Path) -> Result<Json, SourceError> {
    let mut text = Vec::new();
    read_last(root, relative, &mut |line| {
        text.clear();
        text.extend_from_slice(line);
    })?;
    Ok(json::parse(&text).expect("a line that gave a record is JSON"))
}

/// Reads record after record and keeps the last one; `visit` sees the line of each.
///
/// A record's tree is gone before the next line is parsed, since it takes many times the line's memory.
fn read_last(root: &Root, relative: &Path, visit: &mut dyn FnMut(&[u8])) -> Result<Metadata, SourceError> {
    let path = relative.join(METADATA_FILE);
    let no_record = |reason| SourceError::NoRecord { path: root.path_of(&path), reason };
    let file = root.file(&path)?.ok_or_else(|| no_record("the file is missing".to_owned()))?;
    let mut last: Option<(CallRecord, Option<String>)> = None;
    let mut faults = read_records(LineReader::of_file(file), &place(relative), &mut |_, line| {
        let json = json::parse(line)?;
        let record = read_record(&json)?;
        visit(line);
        let remark = last.as_ref().and_then(|(earlier, _)| another_call(earlier, &record));
        let about_origin = origin_remark(&json, &record);
        last = Some((record, about_origin));
        Ok(remark)
    });
    let Some((record, about_origin)) = last else {
        return Err(no_record(faults.into_reason()));
    };
    let about_origin = about_origin.map(|message| Finding { place: place(relative), message });
    faults.findings.extend(about_origin);
    Ok(Metadata { record, findings: faults.findings })
}

/// Says so where two neighbouring records are about two calls.
fn another_call(earlier: &CallRecord, later: &CallRecord) -> Option<String> {
    let saves_inputs = later.status == ExecutionStatus::InputsSaved && !later.graph_capture;
    second_call("this folder", identity(earlier), identity(later), saves_inputs)
}

fn identity(record: &CallRecord) -> Identity<'_> {
    Identity {
        function: record.function.name(),
        module: record.function.module(),
        call_sequence: record.call_sequence,
        process_id: record.process_id,
        origin: record.origin.as_ref().map(|origin| (&*origin.host, &*origin.process)),
        has_ended: has_ended(&record.status, record.graph_capture),
    }
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

/// Tells of the files whose tensors changed while they were written. They can be used: what they hold is what was
/// written.
pub(crate) fn unstable(record: &CallRecord, relative: &Path) -> Vec<Finding> {
    let files = record.files.iter().filter(|file| file.is_unstable);
    files
        .map(|file| Finding {
            place: relative.join(&file.name).to_string_lossy().into_owned(),
            message: "tensors changed while they were written: the file may hold what none of them ever was"
                .to_owned(),
        })
        .collect()
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
                Err(SourceError::NoRecord { path, reason }) => {
                    assert!(path.ends_with("call/metadata.jsonl"));
                    assert_eq!(
                        reason.starts_with("line 1: cut off, column "),
                        cut > 0,
                        "cut at {cut}: {reason}"
                    );
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
    fn a_call_without_a_record_says_why() {
        let whole = line(&slot(1), "completed");
        let digits = "9".repeat(1_000_000);
        for (metadata, reason) in [
            (String::new(), "the file has no lines"),
            (whole.replace("\"f\"", "5"), "line 1: `function_name` is 5, expected a string"),
            (whole.replace(": 7,", ": -1,"), "line 1: `process_id` is -1, expected an unsigned integer"),
            (
                whole.replace(": 7,", &format!(": {digits},")),
                "line 1: `process_id` is an integer of 1000000 digits, expected an unsigned integer",
            ),
            (
                whole.replace("\"module\"", "\"function_name\""),
                "the object has the key \"function_name\" twice",
            ),
            ("\n[1]\n".to_owned(), "line 2: `record` is an array, expected an object"),
            (whole[..80].to_owned(), "line 1: cut off, column 81: the text ends inside a string"),
        ] {
            let error = read(&metadata).unwrap_err().to_string();
            assert!(error.contains("call/metadata.jsonl: no whole record of the call: "), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        let sample = Sample::new();
        let missing = read_metadata(&Root::open(sample.path()).unwrap(), Path::new("call")).unwrap_err();
        assert!(
            missing.to_string().ends_with("no whole record of the call: the file is missing"),
            "{missing}"
        );
    }

    #[test]
    fn an_origin_that_cannot_be_used_is_a_remark() {
        let check = |callbox: &str, message: Option<&str>| {
            let ours = line(&slot(1), "completed")
                .replace("\"module\"", &format!("\"callbox\": {callbox}, \"module\""));
            let findings = read(&ours).unwrap().findings;
            let messages: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
            assert_eq!(messages, message.as_slice(), "{callbox}");
        };
        check("null", None);
        check(r#"{"format": 1, "host": "a", "process": "9f", "more": 1}"#, None);
        let ignored = "`callbox` lacks `host` or `process`; it is ignored";
        check(r#"{"format": 1}"#, Some(ignored));
        check(r#"{"format": 1, "host": "a", "process": null}"#, Some(ignored));
        let newer = "written by a newer recorder (format 2); this version knows 1";
        check(r#"{"format": 2, "host": "a", "process": "9f"}"#, Some(newer));
        check(r#"{"format": 2}"#, Some(newer));
    }

    #[test]
    fn the_json_of_a_record_is_that_of_the_last_whole_line() {
        let sample = Sample::new();
        let (first, second) = (line(&slot(1), "inputs_saved"), line(&slot(1), "completed"));
        sample.write("call/metadata.jsonl", first.clone() + &second[..second.len() / 2]);
        let json = read_metadata_json(&Root::open(sample.path()).unwrap(), Path::new("call")).unwrap();
        assert_eq!(json.to_strict_string(), first.trim_end());
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
        let ended = line(&slot(1), "completed");
        assert_eq!(read(&(first.clone() + &ended)).unwrap().findings.len(), 0);
        let three = read(&(first + &ended.repeat(2))).unwrap();
        assert_eq!(three.record.status, ExecutionStatus::Completed);
        let message = "line 3: the call had ended before this line; the last line counts";
        assert_eq!(three.findings[0].message, message);
    }
}
