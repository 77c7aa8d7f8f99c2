//! Reads a file of records, one a line, and survives what is wrong with it.

use std::fmt;
use std::io::Read;
use std::sync::LazyLock;

use callbox_core::Finding;
use memchr::memmem::Finder;
use thiserror::Error;

use crate::hash::{Seal, seal_of};
use crate::json::{JsonError, Scanner};
use crate::lines::{Content, LineReader, MAX_LINE};
use crate::record::RecordError;

/// How both recorders begin a line.
const START: &[u8] = b"{\"function_name\"";
/// Prepared once: there may be a million lines that are no records.
static STARTS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(START));

/// More remarks than this about one file are counted only.
const MAX_FINDINGS: usize = 100;

/// Why a line, or a part of one, is no record.
#[derive(Debug, Error)]
pub(crate) enum LineError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("its hash is {found:016x} where {recorded:016x} was written: the line is damaged")]
    Hash { recorded: u64, found: u64 },
}

/// Fails for a line that is not what was written, where it can tell.
pub(crate) fn check_seal(line: &[u8]) -> Result<(), LineError> {
    match seal_of(line) {
        Seal::Whole | Seal::Without => Ok(()),
        Seal::Broken { recorded, found } => {
            // Where it is not even JSON, that tells the column.
            let mut scanner = Scanner::new(line)?;
            scanner.skip()?;
            scanner.end()?;
            Err(LineError::Hash { recorded, found })
        }
    }
}

/// What is wrong with a file of records.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) findings: Vec<Finding>,
    /// The findings that cost a record, by their places among all.
    pub(crate) losses: Vec<usize>,
    /// Why the last line that gave no record gave none: `line 2: there is no `execution_status``.
    pub(crate) last_loss: Option<String>,
}

impl Faults {
    /// Says why a file whose records were read has not given a single one.
    pub(crate) fn into_reason(self) -> String {
        self.last_loss.unwrap_or_else(|| "the file has no lines".to_owned())
    }
}

/// Takes a line, given its number; may answer with a remark that costs nothing.
type TakeLine<'a> = dyn FnMut(usize, &[u8]) -> Result<Option<String>, LineError> + 'a;

/// Reads every record of a file and hands it to `take`.
///
/// Whatever is wrong costs at most the line that it is in: a line that was cut off, one that is not JSON, one
/// that `take` refuses. Where a record was cut off and the next one follows in the same line, the next one is
/// recovered. An error of the file system ends the file there.
pub(crate) fn read_records(
    mut reader: LineReader<impl Read>,
    place: &str,
    take: &mut TakeLine<'_>,
) -> Faults {
    let mut remarks = Remarks::of(place);
    loop {
        match reader.next_line() {
            Ok(Some(line)) => match line.content {
                Content::Bytes(bytes) => read_line(line.number, bytes, line.terminated, take, &mut remarks),
                Content::TooLong(len) => remarks.lose(
                    line.number,
                    format!("{}; a line may have {}", in_units(len), in_units(MAX_LINE as u64)),
                ),
            },
            Ok(None) => break,
            Err(error) => {
                let reason = format!("reading stopped: {error}");
                remarks.losses.push(remarks.findings.len());
                remarks.add_whole(format!("{reason}; what follows is lost"));
                remarks.last_loss = Some(Loss { at: None, reason });
                break;
            }
        }
    }
    remarks.finish()
}

fn read_line(
    number: usize,
    bytes: &[u8],
    terminated: bool,
    take: &mut TakeLine<'_>,
    remarks: &mut Remarks<'_>,
) {
    let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    remarks.carriage_returns += usize::from(line.len() < bytes.len());
    if line.trim_ascii().is_empty() {
        remarks.blank_lines += 1;
        return;
    }
    let mut take = |line: &[u8]| check_seal(line).and_then(|()| take(number, line));
    let error = match take(line) {
        Ok(remark) => {
            remarks.extend(number, remark);
            if !terminated {
                remarks.add(number, "the newline at its end was cut off; nothing is lost");
            }
            return;
        }
        Err(error) => error,
    };
    let parts = split_at_starts(line);
    if parts.len() < 2 {
        let cut = if terminated { "" } else { "cut off, " };
        return remarks.lose(number, format!("{cut}{error}"));
    }
    let mut lost = 0;
    for (place, part) in parts.iter().enumerate() {
        match take(part) {
            Ok(remark) => remarks.extend(number, remark),
            Err(error) => {
                lost += 1;
                let (place, of) = (place + 1, parts.len());
                let reason = format!("record {place} of {of} in it: {error}");
                remarks.last_loss = Some(Loss { at: Some((number, ", ")), reason });
            }
        }
    }
    let whole = parts.len() - lost;
    if lost > 0 {
        remarks.losses.push(remarks.findings.len());
    }
    let records = parts.len();
    remarks
        .add(number, format_args!("{records} records run into each other; {whole} recovered, {lost} lost"));
}

/// Splits a line where records start. Inside a record's strings every quote is escaped, so this finds no start
/// there.
pub(crate) fn split_at_starts(line: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut from = 0;
    for start in STARTS.find_iter(line).filter(|&start| start > 0) {
        parts.push(&line[from..start]);
        from = start;
    }
    parts.push(&line[from..]);
    parts
}

/// Writes a number of bytes with one decimal, rounded up: what is over a limit must not look like the limit.
fn in_units(bytes: u64) -> String {
    let (unit, name) = if bytes < 1000 << 20 { (1 << 20, "MiB") } else { (1 << 30, "GiB") };
    let tenths = bytes.saturating_mul(10).div_ceil(unit);
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

/// Why something gave no record. It is spelled once the file is read: there may be a million lines that are none.
struct Loss {
    /// Number of the line, and what stands behind it.
    at: Option<(usize, &'static str)>,
    reason: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, mark)) = self.at {
            write!(f, "line {line}{mark}")?;
        }
        f.write_str(&self.reason)
    }
}

/// Collects what is wrong with one file.
struct Remarks<'a> {
    place: &'a str,
    findings: Vec<Finding>,
    losses: Vec<usize>,
    last_loss: Option<Loss>,
    more: usize,
    blank_lines: usize,
    carriage_returns: usize,
}

impl<'a> Remarks<'a> {
    fn of(place: &'a str) -> Remarks<'a> {
        let (findings, losses) = (Vec::new(), Vec::new());
        Remarks { place, findings, losses, last_loss: None, more: 0, blank_lines: 0, carriage_returns: 0 }
    }

    /// Adds that a line gave no record, and why.
    fn lose(&mut self, line: usize, reason: String) {
        self.losses.push(self.findings.len());
        self.add(line, format_args!("{reason}; this line is lost"));
        self.last_loss = Some(Loss { at: Some((line, ": ")), reason });
    }

    fn add(&mut self, line: usize, message: impl fmt::Display) {
        if self.findings.len() < MAX_FINDINGS {
            self.add_whole(format!("line {line}: {message}"));
        } else {
            self.more += 1;
        }
    }

    fn extend(&mut self, line: usize, remark: Option<String>) {
        if let Some(remark) = remark {
            self.add(line, remark);
        }
    }

    fn add_whole(&mut self, message: String) {
        self.findings.push(Finding { place: self.place.to_owned(), message });
    }

    fn finish(mut self) -> Faults {
        if self.more > 0 {
            self.add_whole(format!("more lines with something wrong: {}", self.more));
        }
        if self.blank_lines > 0 {
            self.add_whole(format!("blank lines: {}; nothing is lost", self.blank_lines));
        }
        if self.carriage_returns > 0 {
            let lines = self.carriage_returns;
            self.add_whole(format!(
                "lines that end in CRLF: {lines}; the file was converted, nothing is lost"
            ));
        }
        // Of those beyond the most that are listed, there is one line for all.
        self.losses.retain(|place| *place < self.findings.len());
        Faults {
            findings: self.findings,
            losses: self.losses,
            last_loss: self.last_loss.map(|loss| loss.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    /// Reads a file; returns the `n` of each record and the remarks.
    fn read(text: impl AsRef<[u8]>) -> (Vec<String>, Vec<String>) {
        let mut records = Vec::new();
        let faults = read_records(LineReader::new(text.as_ref()), "session.jsonl", &mut |_, line| {
            let record = json::parse(line)?;
            records.push(record.get("function_name").unwrap_or(&record).to_strict_string());
            Ok(None)
        });
        (records, faults.findings.iter().map(ToString::to_string).collect())
    }

    fn check(text: &str, records: &[&str], findings: &[&str]) {
        assert_eq!(read(text), (strings(records), strings(findings)), "{text}");
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn whole_lines_raise_no_remark() {
        check("", &[], &[]);
        check("{\"function_name\": 1}\n{\"function_name\": 2}\n", &["1", "2"], &[]);
    }

    #[test]
    fn a_torn_last_line_costs_that_line_only() {
        check(
            "{\"function_name\": 1}\n{\"function_name\": 2, \"a",
            &["1"],
            &["session.jsonl: line 2: cut off, column 24: the text ends inside a string; this line is lost"],
        );
        check(
            "{\"function_name\": 1}",
            &["1"],
            &["session.jsonl: line 1: the newline at its end was cut off; nothing is lost"],
        );
    }

    #[test]
    fn a_record_behind_a_torn_one_is_recovered() {
        check(
            "{\"function_name\": 1, \"dump{\"function_name\": 2}\n{\"function_name\": 3}\n",
            &["2", "3"],
            &["session.jsonl: line 1: 2 records run into each other; 1 recovered, 1 lost"],
        );
        check(
            "\0\0\u{feff}{\"function_name\": 1}\n",
            &["1"],
            &["session.jsonl: line 1: 2 records run into each other; 1 recovered, 1 lost"],
        );
        check(
            "{\"function_name\": 1}{\"function_name\": 2}{\"function_name\": 3",
            &["1", "2"],
            &["session.jsonl: line 1: 3 records run into each other; 2 recovered, 1 lost"],
        );
    }

    #[test]
    fn carriage_returns_and_blank_lines_cost_nothing() {
        check(
            "{\"function_name\": 1}\r\n\r\n\n{\"function_name\": 2}\r\n",
            &["1", "2"],
            &[
                "session.jsonl: blank lines: 2; nothing is lost",
                "session.jsonl: lines that end in CRLF: 3; the file was converted, nothing is lost",
            ],
        );
    }

    #[test]
    fn garbage_costs_its_own_line() {
        for garbage in ["\u{feff}{}", "\0\0\0", "{\"a\": 1, \"a\": 2}", "nonsense", "1 2"] {
            let (records, findings) =
                read(format!("{{\"function_name\": 1}}\n{garbage}\n{{\"function_name\": 2}}\n"));
            assert_eq!((records, findings.len()), (strings(&["1", "2"]), 1), "{garbage}");
            assert!(findings[0].starts_with("session.jsonl: line 2: column "), "{}", findings[0]);
        }
        assert_eq!(read(b"\xff\n{\"function_name\": 2}\n").0, ["2"]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_stepped_over() {
        let long = std::io::repeat(b' ').take(MAX_LINE as u64 + 1);
        let mut records = 0;
        let faults =
            read_records(LineReader::new(long.chain(&b"\n{}\n"[..])), "session.jsonl", &mut |number, _| {
                records += number;
                Ok(None)
            });
        assert_eq!((records, faults.findings.len()), (2, 1));
        assert_eq!(faults.findings[0].message, "line 1: 16.1 MiB; a line may have 16 MiB; this line is lost");
        assert_eq!(faults.into_reason(), "line 1: 16.1 MiB; a line may have 16 MiB");
    }

    #[test]
    fn sizes_are_rounded_up_to_a_tenth_of_a_unit() {
        for (bytes, text) in [
            (16 << 20, "16 MiB"),
            ((16 << 20) + 1, "16.1 MiB"),
            (1_073_712_524, "1 GiB"),
            (5 << 29, "2.5 GiB"),
            (u64::MAX, "1717986918.4 GiB"),
        ] {
            assert_eq!(in_units(bytes), text);
        }
    }

    #[test]
    fn the_last_line_that_is_lost_says_why_a_file_gives_nothing() {
        for (text, reason) in [
            ("", "the file has no lines"),
            ("\n\r\n", "the file has no lines"),
            ("x\n1 2\n", "line 2: column 3: more text behind the value"),
            ("{\"a\": \"", "line 1: cut off, column 8: the text ends inside a string"),
            (
                "{\"function_name\"{\"function_name\": ",
                "line 1, record 2 of 2 in it: column 19: expected a value, found the end of the text",
            ),
        ] {
            let faults = read_records(LineReader::new(text.as_bytes()), "metadata.jsonl", &mut |_, line| {
                json::parse(line)?;
                Ok(None)
            });
            assert_eq!(faults.into_reason(), reason, "{text:?}");
        }
    }

    #[test]
    fn a_million_bad_lines_are_counted() {
        let (records, findings) = read("x\n".repeat(100_000));
        assert_eq!((records.len(), findings.len()), (0, MAX_FINDINGS + 1));
        assert_eq!(findings[MAX_FINDINGS], "session.jsonl: more lines with something wrong: 99900");
    }

    #[test]
    fn every_cut_costs_at_most_the_line_it_is_in() {
        let text = "{\"function_name\": \"\\ud800\"}\n{\"function_name\": [1, {\"a\": 2.5}]}\n{\"function_name\": 3}\n";
        for cut in 0..=text.len() {
            let whole = text[..cut].lines().filter(|line| json::parse(line.as_bytes()).is_ok()).count();
            let newlines = text[..cut].matches('\n').count();
            let (records, findings) = read(&text[..cut]);
            assert_eq!(records.len(), whole, "cut at {cut}");
            assert!(records.len() >= newlines, "cut at {cut}");
            let ends_clean = cut == 0 || text[..cut].ends_with('\n');
            assert_eq!(findings.is_empty(), ends_clean, "cut at {cut}: {findings:?}");
        }
    }
}
