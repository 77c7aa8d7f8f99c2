//! `session.jsonl`: the index of a session.

use std::collections::HashMap;
use std::io::Read;

use callbox_core::{Finding, SlotName, planted};

use crate::call_facts::{CallFacts, Shared};
use crate::jsonl::{LineError, read_records};
use crate::line_facts::{LineFacts, scan_line};
use crate::lines::LineReader;
use crate::record::RecordError;

/// The file of all records, in a session's folder.
pub const SESSION_FILE: &str = "session.jsonl";

/// Longest name that the common file systems take, in bytes.
const MAX_NAME: usize = 255;

/// The calls that the index knows, in the order of their first lines.
#[derive(Debug, Default)]
pub(crate) struct Index {
    calls: Vec<CallFacts>,
    /// The place of each call by its folder's name.
    places: HashMap<String, usize>,
}

impl Index {
    /// Reads the index line by line, and returns what is wrong with it; memory grows with the number of calls,
    /// not with the file.
    pub(crate) fn read(lines: LineReader<impl Read>, shared: &mut Shared) -> (Index, Vec<Finding>) {
        let mut index = Index::default();
        let faults = read_records(lines, SESSION_FILE, &mut |_, line| {
            let facts = scan_line(line, &mut shared.recurring)?;
            // A snapshot's folder lies inside that of its call, which has lines of its own.
            if facts.is_snapshot {
                return Ok(None);
            }
            index.take(&facts, shared)
        });
        (index, faults.findings)
    }

    /// Finds the call of a folder.
    pub(crate) fn place(&self, folder: &str) -> Option<usize> {
        self.places.get(folder).copied()
    }

    /// Returns the number of calls.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Hands out the calls with their folders' names, in order.
    pub(crate) fn into_calls(self) -> impl Iterator<Item = (String, CallFacts)> {
        let mut folders = vec![String::new(); self.calls.len()];
        for (folder, place) in self.places {
            folders[place] = folder;
        }
        folders.into_iter().zip(self.calls)
    }

    fn take(&mut self, line: &LineFacts<'_>, shared: &mut Shared) -> Result<Option<String>, LineError> {
        let folder = match &line.dump_dir {
            Some(dump_dir) => folder_name(dump_dir)?,
            None => &slot_name(line)?,
        };
        if let Some(place) = self.place(folder) {
            return Ok(self.calls[place].update(folder, line, shared));
        }
        self.places.insert(folder.to_owned(), self.calls.len());
        self.calls.push(CallFacts::new(folder, line, shared));
        Ok(None)
    }
}

/// Takes the last component of a recorded path. The path is another machine's: it is a name to look up, never a
/// way to go.
pub(crate) fn folder_name(dump_dir: &str) -> Result<&str, RecordError> {
    let name = dump_dir.rsplit('/').next().unwrap_or_default();
    let leads_away = matches!(name, "" | "." | "..") && !planted::bug("dump_dir_up");
    if leads_away || name.contains(['\\', '\0']) || name.len() > MAX_NAME {
        return Err(RecordError::new(format!("`dump_dir` is {dump_dir:?}, which names no folder")));
    }
    Ok(name)
}

pub(crate) fn slot_name(line: &LineFacts<'_>) -> Result<String, RecordError> {
    let slot = || {
        Some(SlotName {
            timestamp: line.timestamp.as_deref()?.to_owned(),
            process_id: line.process_id?,
            function: line.function.clone().into_owned(),
            call_sequence: line.call_sequence?,
        })
    };
    let name = slot().map(|slot| slot.to_string());
    name.filter(|name| SlotName::parse(name).is_some())
        .ok_or_else(|| RecordError::new("there is no `dump_dir`, and too little else to tell the folder by"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{line, slot};

    /// Reads an index; returns the calls in order and the remarks.
    fn read(text: &str) -> (Vec<(String, CallFacts)>, Vec<String>) {
        let (index, findings) = Index::read(LineReader::new(text.as_bytes()), &mut Shared::default());
        let findings = findings.iter().map(|finding| finding.message.clone()).collect();
        (index.into_calls().collect(), findings)
    }

    #[test]
    fn a_call_is_where_its_first_line_is_and_what_its_last_one_says() {
        let text = line(&slot(1), "inputs_saved")
            + &line(&slot(2), "inputs_saved")
            + &line(&slot(2), "completed")
            + &line(&slot(1), "completed");
        let (calls, findings) = read(&text);
        let listed: Vec<_> =
            calls.iter().map(|(_, facts)| (facts.call_sequence, facts.status.as_str())).collect();
        assert_eq!(listed, [(1, "completed"), (2, "completed")]);
        assert_eq!(calls[0].0, slot(1).to_string());
        assert_eq!(findings, [""; 0]);
    }

    #[test]
    fn names_and_details_that_recur_are_kept_once() {
        let details =
            r#""tensor_details": {"arg_0": {"shape": [2], "dtype": "torch.int8", "stride": [1]}}, "module""#;
        let lines = line(&slot(1), "completed") + &line(&slot(2), "completed");
        let (calls, _) = read(&lines.replace("\"module\"", details));
        let [first, second] = [&calls[0].1, &calls[1].1]
            .map(|facts| facts.clone().into_call(String::new(), callbox_core::CallState::Completed));
        assert_eq!(first.tensor_details.len(), 1);
        assert!(std::sync::Arc::ptr_eq(&first.tensor_details, &second.tensor_details));
        assert!(std::ptr::eq(first.function.name(), second.function.name()));
    }

    #[test]
    fn a_path_in_a_line_is_a_name_and_never_a_way() {
        for (dump_dir, folder) in [("/etc", "etc"), ("a/b c/d", "d"), ("../x", "x"), ("x", "x")] {
            assert_eq!(folder_name(dump_dir).unwrap(), folder);
        }
        let long = "x".repeat(256);
        for dump_dir in ["", "/", "..", "a/..", ".", "a/.", "a\\b", "a\0", &long] {
            assert!(folder_name(dump_dir).is_err(), "{dump_dir:?}");
        }
        let (calls, findings) = read(&line(&slot(1), "completed").replace(&slot(1).to_string(), ".."));
        assert!(calls.is_empty());
        assert_eq!(
            findings,
            ["line 1: `dump_dir` is \"dumps/..\", which names no folder; this line is lost"]
        );
    }

    #[test]
    fn a_line_without_a_path_names_its_folder_by_its_parts() {
        let text = line(&slot(3), "completed").replace("dump_dir", "elsewhere");
        assert_eq!(read(&text).0[0].0, slot(3).to_string());
        let (calls, findings) = read(&text.replace("timestamp", "when"));
        assert!(calls.is_empty());
        assert!(findings[0].contains("there is no `dump_dir`"), "{findings:?}");
    }

    #[test]
    fn lines_about_a_flush_belong_to_their_call() {
        let flush = line(&slot(1), "completed")
            .replace("\"dump_dir\": \"", "\"graph_capture_base_dump_dir\": \"dumps/x\", \"dump_dir\": \"")
            .replace("_call0001", "_call0001/graph_flushes/flush_0001");
        let (calls, findings) = read(&(line(&slot(1), "inputs_saved") + &flush));
        assert_eq!((calls.len(), calls[0].1.status.as_str(), findings.len()), (1, "inputs_saved", 0));
    }

    #[test]
    fn u22_two_calls_in_one_folder_are_noticed() {
        let begun = line(&slot(1), "inputs_saved");
        let (calls, findings) = read(&begun.repeat(2));
        assert_eq!((calls.len(), findings.len()), (1, 1));
        assert!(findings[0].starts_with("line 2: a second call was recorded into "), "{findings:?}");
        for (what, other) in [
            ("\"f\"", "\"g\""),
            ("\"m\"", "\"n\""),
            ("sequence\": 1", "sequence\": 2"),
            ("process_id\": 7", "process_id\": 8"),
        ] {
            let ending = line(&slot(1), "completed").replacen(what, other, 1);
            assert_eq!(read(&(begun.clone() + &ending)).1.len(), 1, "{other}");
        }
    }

    #[test]
    fn what_a_recorder_of_ours_adds_tells_processes_apart() {
        let ours = line(&slot(1), "completed")
            .replace("\"module\"", r#""callbox": {"format": 1, "host": "a", "process": "9f"}, "module""#);
        let process = read(&ours).0[0].1.process.clone();
        assert_eq!(process.origin, Some(("a".into(), "9f".into())));
    }

    #[test]
    fn every_cut_of_an_index_costs_at_most_the_line_it_is_in() {
        let text =
            line(&slot(1), "inputs_saved") + &line(&slot(1), "completed") + &line(&slot(2), "inputs_saved");
        for cut in 0..text.len() {
            let (calls, findings) = read(&text[..cut]);
            let whole = text[..cut].matches('\n').count();
            let without_newline = usize::from(text[cut..].starts_with('\n') && !text[..cut].ends_with('\n'));
            let expected = [0, 1, 1, 2][whole + without_newline];
            assert_eq!(calls.len(), expected, "cut at {cut}");
            assert_eq!(findings.is_empty(), cut == 0 || text[..cut].ends_with('\n'), "cut at {cut}");
        }
    }

    #[test]
    fn every_cut_with_more_lines_behind_it_costs_that_line_only() {
        let first = line(&slot(1), "inputs_saved");
        for cut in 0..first.len() {
            let (calls, findings) = read(&(first[..cut].to_owned() + &line(&slot(2), "completed")));
            assert!(calls.iter().any(|(folder, _)| *folder == slot(2).to_string()), "cut at {cut}");
            assert_eq!(findings.is_empty(), cut == 0, "cut at {cut}: {findings:?}");
        }
    }
}
