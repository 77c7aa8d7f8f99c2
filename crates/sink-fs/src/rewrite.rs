//! Files of records that go with their session to another place, in another format.
//!
//! What changes is put in place of what it was, and every other byte stays: keys that this version does not know,
//! the spelling of numbers, lines that are no records.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use callbox_core::{Finding, RecordedFile};

use crate::encode::push_files;
use crate::fields::Fields;
use crate::flushes::FLUSHES_FOLDER;
use crate::hash::{seal, unsealed};
use crate::index::{folder_name, slot_name};
use crate::json::{self, Dialect, Kind, Scanner, push_str};
use crate::jsonl::{LineError, check_seal, split_at_starts};
use crate::line_facts::scan_line;
use crate::lines::{Content, LineReader};
use crate::location::{location, normalised};
use crate::record::read_files;
use crate::recurring::Recurring;

/// The keys that hold paths: of the call's folder, and of the two folders of a flush.
const PATHS: [&str; 3] = ["dump_dir", "graph_capture_base_dump_dir", "graph_capture_snapshot_dir"];
const TENSOR_FORMAT: &str = "tensor_format";

const FILES: &str = "tensor_files";

/// What the records of a session say after it was rewritten.
pub struct Rewriting<'a> {
    root: PathBuf,
    records_of: &'a RecordsOf<'a>,
}

/// Gives what the records of a folder inside the session say anew.
pub type RecordsOf<'a> = dyn Fn(&str) -> Option<&'a NewRecords> + 'a;

/// What the records of one folder say anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecords {
    /// The `tensor_format`.
    pub format: &'static str,
    /// Files that were written anew: each takes the place of the one that was its group's.
    pub files: Vec<RecordedFile>,
}

/// What became of a file of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Records that were changed.
    pub records: usize,
    /// Lines that could not be taken along.
    pub losses: Vec<Finding>,
}

impl<'a> Rewriting<'a> {
    /// Rewrites records for a session that lies in `root`.
    ///
    /// `records_of` knows a folder inside the session by its name: `CALL`, or `CALL/graph_flushes/flush_0001`.
    /// `None`: its records stay as they are.
    pub fn new(root: &Path, records_of: &'a RecordsOf<'a>) -> Rewriting<'a> {
        Rewriting { root: normalised(root), records_of }
    }

    /// Copies a file of records, line by line; `place` is its name, for what is lost. An error is one of writing.
    pub fn copy(&self, place: &str, input: impl Read, out: &mut dyn Write) -> io::Result<Rewritten> {
        let mut rewritten = Rewritten::default();
        let mut lose = |message| rewritten.losses.push(Finding { place: place.to_owned(), message });
        let mut records = 0;
        let mut reader = LineReader::new(input);
        loop {
            match reader.next_line() {
                Ok(Some(line)) => {
                    match line.content {
                        Content::Bytes(bytes) => records += self.line(bytes, out)?,
                        Content::TooLong(len) => {
                            lose(format!("line {} has {len} bytes and is left out", line.number));
                        }
                    }
                    if line.terminated {
                        out.write_all(b"\n")?;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    lose(format!("reading stopped: {error}; what follows is left out"));
                    break;
                }
            }
        }
        rewritten.records = records;
        Ok(rewritten)
    }

    /// Copies a line, or the records that run into each other in it; gives the number of those that were changed.
    fn line(&self, line: &[u8], out: &mut dyn Write) -> io::Result<usize> {
        if let Ok(changed) = self.record(line) {
            return put(line, changed, out);
        }
        let mut records = 0;
        for part in split_at_starts(line) {
            // What is no record stays as it is.
            records += put(part, self.record(part).unwrap_or_default(), out)?;
        }
        Ok(records)
    }

    /// Rewrites a record; `None` if it stays as it is. A line that is damaged must not get a hash that says it is not.
    fn record(&self, line: &[u8]) -> Result<Option<String>, LineError> {
        check_seal(line)?;
        let Some(content) = unsealed(line) else { return self.content(line) };
        let mut changed = self.content(content.as_bytes())?;
        changed.iter_mut().for_each(seal);
        Ok(changed)
    }

    /// Rewrites a record without a hash.
    fn content(&self, line: &[u8]) -> Result<Option<String>, LineError> {
        let found = found(line)?;
        let dump_dir = found.iter().find(|found| found.key == PATHS[0]);
        let slot;
        let folder = match dump_dir {
            Some(dump_dir) => inside(&dump_dir.text),
            None => {
                slot = slot_name(&scan_line(line, &mut Recurring::default())?)?;
                Some(slot.as_str())
            }
        };
        let Some(new) = folder.and_then(self.records_of) else { return Ok(None) };
        let mut changed = String::with_capacity(line.len());
        let mut from = 0;
        for found in &found {
            let upto = utf8(&line[from..found.range.start]);
            match found.key {
                TENSOR_FORMAT => {
                    changed.push_str(upto);
                    push_str(&mut changed, new.format, Dialect::Python);
                }
                FILES => {
                    let Some(files) = replaced(&found.text, &new.files)? else { continue };
                    changed.push_str(upto);
                    push_files(&mut changed, &files);
                }
                _ => {
                    let Some(folder) = inside(&found.text) else { continue };
                    changed.push_str(upto);
                    push_str(&mut changed, &location(&self.root, folder), Dialect::Python);
                }
            }
            from = found.range.end;
        }
        changed.push_str(utf8(&line[from..]));
        Ok(Some(changed))
    }
}

impl fmt::Debug for Rewriting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewriting").field("root", &self.root).finish_non_exhaustive()
    }
}

/// A value that may change.
struct Found<'a> {
    key: &'static str,
    /// What a string means; of the files, how they are spelled.
    text: Cow<'a, str>,
    /// Where it stands, quotes included.
    range: Range<usize>,
}

/// Puts files in the place of those of their group; `None` if there are none of theirs.
fn replaced(recorded: &str, new: &[RecordedFile]) -> Result<Option<Vec<RecordedFile>>, LineError> {
    let mut files = read_files(Fields::of(&json::parse(recorded.as_bytes())?, FILES)?)?;
    let stem = |file: &RecordedFile| file.name.rsplit_once('.').map(|(stem, _)| stem.to_owned());
    let mut any = false;
    for file in &mut files {
        if let Some(new) = new.iter().find(|new| stem(new) == stem(file)) {
            // Tensors that changed while they were recorded are no better for having been copied.
            *file = RecordedFile { is_unstable: file.is_unstable, ..new.clone() };
            any = true;
        }
    }
    Ok(any.then_some(files))
}

/// Writes a record, or what it was changed to; gives the number of changes.
fn put(line: &[u8], changed: Option<String>, out: &mut dyn Write) -> io::Result<usize> {
    out.write_all(changed.as_deref().map_or(line, str::as_bytes))?;
    Ok(usize::from(changed.is_some()))
}

/// Finds the values that may change, in the order in which they stand.
fn found(line: &[u8]) -> Result<Vec<Found<'_>>, LineError> {
    let mut all = Vec::new();
    let mut scanner = Scanner::new(line)?;
    scanner.object(|scanner, key| {
        let known = PATHS
            .into_iter()
            .chain([TENSOR_FORMAT, FILES])
            .find(|known| *key.to_bytes() == *known.as_bytes());
        let kind = scanner.peek()?;
        let start = scanner.offset();
        let (key, text) = match (known, kind) {
            (Some(FILES), Kind::Object) => (FILES, Cow::Borrowed(utf8(scanner.raw()?))),
            (Some(key), Kind::String) if key != FILES => (key, scanner.string()?.to_string_lossy()),
            _ => return scanner.skip(),
        };
        all.push(Found { key, text, range: start..scanner.offset() });
        Ok(())
    })?;
    scanner.end()?;
    Ok(all)
}

/// Returns the part of a recorded path that lies inside the session: a call's folder, or a flush's inside it.
fn inside(path: &str) -> Option<&str> {
    let name = folder_name(path).ok()?;
    let flushes =
        path.strip_suffix(name)?.strip_suffix('/').and_then(|path| path.strip_suffix(FLUSHES_FOLDER));
    let Some(call) = flushes.and_then(|path| path.strip_suffix('/')) else { return Some(name) };
    let call = folder_name(call).ok()?;
    Some(&path[path.len() - (call.len() + 1 + FLUSHES_FOLDER.len() + 1 + name.len())..])
}

fn utf8(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("the scanner has checked the line, and values begin and end at quotes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{line, slot};

    /// Rewrites a file of records into `new/place`, as of the format `second`, but for the folders named.
    fn rewritten(text: &[u8], kept: &[&str]) -> (String, Rewritten) {
        let file =
            RecordedFile { name: "inputs.second".to_owned(), bytes: 7, hash: None, is_unstable: false };
        let new = NewRecords { format: "second", files: vec![file] };
        let records_of = |folder: &str| (!kept.contains(&folder)).then_some(&new);
        let mut out = Vec::new();
        let rewriting = Rewriting::new(Path::new("./new//place/"), &records_of);
        let rewritten = rewriting.copy("session.jsonl", text, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), rewritten)
    }

    fn check(text: &str, expected: &str, records: usize) {
        let (written, rewritten) = rewritten(text.as_bytes(), &[]);
        assert_eq!(written, expected);
        assert_eq!(rewritten, Rewritten { records, losses: Vec::new() });
    }

    #[test]
    fn format_and_place_change_and_every_other_byte_stays() {
        let text = r#"{ "x":[1e+300, NaN,"\ud800"] ,"dump_dir": "/old/a b/c1", "tensor_format" :"first","tensor_info": {"tensor_format": "first"}}"#;
        let expected = r#"{ "x":[1e+300, NaN,"\ud800"] ,"dump_dir": "new/place/c1", "tensor_format" :"second","tensor_info": {"tensor_format": "first"}}"#;
        check(text, expected, 1);
        check(&format!("{text}\r\n\n{text}"), &format!("{expected}\r\n\n{expected}"), 2);
    }

    #[test]
    fn a_flush_keeps_its_place_inside_its_call() {
        check(
            r#"{"dump_dir": "a/c1/graph_flushes/flush_0001", "graph_capture_snapshot_dir": "a/c1/graph_flushes/flush_0001", "graph_capture_base_dump_dir": "c1"}"#,
            r#"{"dump_dir": "new/place/c1/graph_flushes/flush_0001", "graph_capture_snapshot_dir": "new/place/c1/graph_flushes/flush_0001", "graph_capture_base_dump_dir": "new/place/c1"}"#,
            1,
        );
        assert_eq!(inside("graph_flushes/flush_0001"), Some("flush_0001"));
        assert_eq!(inside("../graph_flushes/flush_0001"), None);
    }

    #[test]
    fn what_is_no_record_stays_as_it_is() {
        for text in [
            "{\"dump_dir\": \"a/c",
            "[]",
            "{}",
            "\u{feff}{}",
            "{\"dump_dir\": \"a/..\"}",
            "{\"dump_dir\": 1}",
            "",
        ] {
            check(text, text, 0);
        }
        let torn = line(&slot(1), "inputs_saved");
        let (written, rewritten) = rewritten((torn[..50].to_owned() + &torn).as_bytes(), &[]);
        let place = format!("new/place/{}", slot(1));
        assert!(written.starts_with(&torn[..50]) && written.contains(&place), "{written}");
        assert_eq!(rewritten.records, 1);
    }

    #[test]
    fn records_of_a_folder_that_is_kept_stay_as_they_are() {
        let text = line(&slot(1), "completed") + &line(&slot(2), "completed");
        let (written, rewritten) = rewritten(text.as_bytes(), &[&slot(1).to_string()]);
        assert!(written.starts_with(&line(&slot(1), "completed")));
        assert!(written.ends_with(&format!("\"dump_dir\": \"new/place/{}\"}}\n", slot(2))), "{written}");
        assert_eq!(rewritten.records, 1);
    }

    #[test]
    fn a_record_without_a_path_is_of_the_folder_that_its_parts_name() {
        let text = line(&slot(1), "completed").replace("dump_dir", "elsewhere");
        let (written, _) = rewritten(text.as_bytes(), &[]);
        assert_eq!(written, text.replace("\"first\"", "\"second\""));
    }

    #[test]
    fn a_line_over_the_limit_is_left_out_and_told() {
        let mut text = vec![b' '; crate::lines::MAX_LINE + 1];
        text.extend_from_slice(b"\n{}\n");
        let (written, rewritten) = rewritten(&text, &[]);
        assert_eq!(written, "\n{}\n");
        assert!(rewritten.losses[0].message.starts_with("line 1 has 16777217 bytes"), "{rewritten:?}");
    }
}
