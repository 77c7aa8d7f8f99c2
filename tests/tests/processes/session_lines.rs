//! A session's files as they are, line by line: whoever reads them is not asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use callbox_tests::size::payload_bytes;
use serde_json::Value;

/// A process, told apart by the random bits that it writes.
type Token = String;

/// What the lines of a session of workers say.
#[derive(Debug, Default)]
pub(crate) struct SessionLines {
    /// Lines that hold no whole record.
    pub(crate) torn: usize,
    /// Lines without anything: a lock that did not come free in time is done without, and then a line that is being
    /// written may look torn to the next one, who closes it.
    pub(crate) empty: usize,
    /// Shortest and longest line in bytes.
    pub(crate) shortest_and_longest: (usize, usize),
    /// Status by call; a call is its worker's name and its own number.
    pub(crate) calls: BTreeMap<(String, u64), Vec<String>>,
    /// Process id and numbers of calls, by process.
    pub(crate) processes: HashMap<Token, (u64, HashSet<u64>)>,
    folders: HashMap<String, (Token, u64)>,
}

impl SessionLines {
    /// Reads a session's index; checks each line for itself, and that no folder has two calls.
    pub(crate) fn read(session: &Path) -> SessionLines {
        let mut found = SessionLines { shortest_and_longest: (usize::MAX, 0), ..SessionLines::default() };
        let mut lines = BufReader::new(File::open(session.join("session.jsonl")).unwrap());
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).unwrap() > 0 {
            match serde_json::from_slice(&line) {
                Ok(record) => found.add(&record, line.len()),
                Err(_) if line == b"\n" => found.empty += 1,
                Err(_) => found.torn += 1,
            }
            line.clear();
        }
        found
    }

    fn add(&mut self, record: &Value, bytes: usize) {
        let (shortest, longest) = self.shortest_and_longest;
        self.shortest_and_longest = (shortest.min(bytes), longest.max(bytes));
        let arguments = &record["input_metadata"];
        let (name, number) = (text(&arguments["arg_0"]), arguments["arg_1"].as_u64().unwrap());
        let payload = text(&arguments["arg_2"]);
        assert_eq!(payload.len(), payload_bytes(number), "{name} {number}: as long as it was");
        assert!(payload.bytes().all(|byte| byte == b'x'), "{name} {number}: nothing is mixed in");

        let token = text(&record["callbox"]["process"]);
        let sequence = record["call_sequence"].as_u64().unwrap();
        let process = record["process_id"].as_u64().unwrap();
        let entry = self.processes.entry(token.clone()).or_insert_with(|| (process, HashSet::new()));
        assert_eq!(entry.0, process, "one process has one id");
        entry.1.insert(sequence);

        let folder = text(&record["dump_dir"]);
        let owner = self.folders.entry(folder.clone()).or_insert_with(|| (token.clone(), sequence));
        assert_eq!(*owner, (token, sequence), "two calls share {folder}");
        self.calls.entry((name, number)).or_default().push(text(&record["execution_status"]));
    }

    /// Checks that calls 1 to `calls` of a worker have their two lines, in their order.
    pub(crate) fn check_whole(&self, name: &str, calls: u64) {
        for number in 1..=calls {
            let statuses = self.calls.get(&(name.to_owned(), number)).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(statuses, ["inputs_saved", "completed"], "{name} {number}");
        }
    }

    /// Checks that each call of the index has a folder of its own, whose record has the call's two lines and no other's.
    pub(crate) fn check_folders(&self, session: &Path) {
        for (folder, owner) in &self.folders {
            let metadata = session.join(Path::new(folder).file_name().unwrap()).join("metadata.jsonl");
            let text = fs::read_to_string(&metadata).unwrap_or_else(|error| panic!("{folder}: {error}"));
            for line in text.lines() {
                let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
                let of =
                    (self::text(&record["callbox"]["process"]), record["call_sequence"].as_u64().unwrap());
                assert_eq!(of, *owner, "{folder} is another call's");
            }
        }
        let entries = fs::read_dir(session).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
        assert!(entries.count() >= self.folders.len());
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
