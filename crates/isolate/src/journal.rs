//! The journal of a replay: its verdicts as they came, so that another replay can continue it.
//!
//! One JSON object a line, each written at once: a header that says which replay it is, then a line for each call.
//! A line that the process did not live to finish is dropped.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use callbox_core::{Session, planted};
use callbox_replay::CallReport;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::wire::Report;

/// What the header of every journal begins with.
const MAGIC: &str = r#"{"journal":"callbox replay","#;

/// A replay that was killed while it started a worker leaves its lock to it, until that has become another program.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// What a journal is bound to: everything that its verdicts depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The session's folder.
    pub session: String,
    /// Which calls are in it: see [`identity`].
    pub identity: String,
    /// The options, by the names that their user knows.
    pub options: BTreeMap<String, String>,
}

/// Condenses the calls of a session as its index has them. What is in their files is not looked at.
pub fn identity(session: &Session) -> String {
    let mut hash = Sha256::new();
    for call in &session.calls {
        let process = (call.process.process_id, &call.process.origin);
        let object = (call.self_id, call.state.name(), call.inputs, call.outputs);
        hash.update(format!(
            "{:?} {:?} {} {:?} {process:?} {object:?}\n",
            call.folder, call.function, call.call_sequence, call.timestamp
        ));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a journal cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file cannot be opened, read or written.
    #[error("the journal {path}: {source}")]
    Io {
        /// The journal.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another replay writes it.
    #[error("the journal {0} belongs to a replay that is running")]
    Busy(PathBuf),
    /// The file is something else.
    #[error("{0} is no journal of a replay: it is left as it is, name another file")]
    Foreign(PathBuf),
    /// The journal is one of another replay.
    #[error("the journal {path} is of another replay: {what}; replay without --resume to begin anew")]
    OtherReplay {
        /// The journal.
        path: PathBuf,
        /// What is different.
        what: String,
    },
    /// A line in it makes no sense.
    #[error("the journal {path} is damaged in line {line}: {reason}; replay without --resume to begin anew")]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    // First: it is what tells a journal from other files.
    journal: String,
    version: String,
    session: String,
    calls: String,
    options: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Line<R> {
    place: usize,
    report: R,
}

/// A journal that is being written. No other process writes it meanwhile.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Begins a journal, in place of one that is there already.
    pub fn create(path: &Path, binding: &Binding) -> Result<Journal, JournalError> {
        let journal = Journal::open(path, 1)?;
        if journal.header()?.is_some_and(|line| !line.starts_with(MAGIC)) {
            return Err(JournalError::Foreign(path.to_owned()));
        }
        journal.begin(binding)
    }

    /// Opens the journal of an interrupted replay, with the reports that it has by place; where there is no journal
    /// yet, begins one.
    pub fn resume(
        path: &Path,
        binding: &Binding,
        session: &Session,
    ) -> Result<(Journal, BTreeMap<usize, CallReport>), JournalError> {
        let journal = Journal::open(path, LOCK_TRIES)?;
        let Some(header) = journal.header()? else {
            return Ok((journal.begin(binding)?, BTreeMap::new()));
        };
        journal.check(&header, binding)?;
        let (reports, length) = journal.reports(header.len(), session)?;
        journal.file.set_len(length).map_err(|source| journal.failed(source))?;
        (&journal.file).seek(SeekFrom::End(0)).map_err(|source| journal.failed(source))?;
        Ok((journal, reports))
    }

    /// Adds the report on the call at this place.
    pub fn append(&mut self, place: usize, report: &CallReport) -> Result<(), JournalError> {
        self.write(&Line { place, report: Report::new(report) })
    }

    /// Returns where the journal is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open(path: &Path, tries: u32) -> Result<Journal, JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), source };
        // Only its owner: it tells what the calls returned.
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = options.map_err(failed)?;
        for left in (0..tries).rev() {
            match file.try_lock() {
                Ok(()) => return Ok(Journal { path: path.to_owned(), file }),
                Err(TryLockError::WouldBlock) if left > 0 => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        Err(JournalError::Busy(path.to_owned()))
    }

    /// Reads the first line with its end; a file without a whole line is none yet.
    fn header(&self) -> Result<Option<String>, JournalError> {
        /// A file of something else may be one line of gigabytes.
        const LONGEST: u64 = 1 << 20;
        let mut line = Vec::new();
        let mut file = &self.file;
        file.rewind().map_err(|source| self.failed(source))?;
        let mut file = BufReader::new(file.take(LONGEST));
        file.read_until(b'\n', &mut line).map_err(|source| self.failed(source))?;
        let text = String::from_utf8_lossy(&line).into_owned();
        let is_begun = MAGIC.starts_with(&text) || text.starts_with(MAGIC);
        Ok(Some(text).filter(|text| text.ends_with('\n') || !is_begun))
    }

    fn begin(mut self, binding: &Binding) -> Result<Journal, JournalError> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(|source| self.failed(source))?;
        let header = Header {
            journal: "callbox replay".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            session: binding.session.clone(),
            calls: binding.identity.clone(),
            options: binding.options.clone(),
        };
        self.write(&header)?;
        Ok(self)
    }

    /// Compares the header with the replay that wants to continue.
    fn check(&self, header: &str, binding: &Binding) -> Result<(), JournalError> {
        let header: Header =
            serde_json::from_str(header).map_err(|_| JournalError::Foreign(self.path.clone()))?;
        let what = if header.version != env!("CARGO_PKG_VERSION") {
            format!("it was written by version {}", header.version)
        } else if header.session != binding.session {
            format!("its session is {}", header.session)
        } else if header.calls != binding.identity {
            "the session has changed since".to_owned()
        } else if let Some(difference) = difference(&header.options, &binding.options) {
            difference
        } else {
            return Ok(());
        };
        Err(JournalError::OtherReplay { path: self.path.clone(), what })
    }

    /// Reads the reports behind the header, and how many bytes of whole lines there are.
    fn reports(
        &self,
        header: usize,
        session: &Session,
    ) -> Result<(BTreeMap<usize, CallReport>, u64), JournalError> {
        let mut file = BufReader::new(&self.file);
        let mut length = header as u64;
        file.seek(SeekFrom::Start(length)).map_err(|source| self.failed(source))?;
        let mut reports = BTreeMap::new();
        let mut line = Vec::new();
        for number in 2.. {
            line.clear();
            file.read_until(b'\n', &mut line).map_err(|source| self.failed(source))?;
            if !line.ends_with(b"\n") {
                break;
            }
            let damaged = |reason| JournalError::Damaged { path: self.path.clone(), line: number, reason };
            let Line { place, report }: Line<Report> =
                serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
            let call = session.calls.get(place);
            let call = call.ok_or_else(|| damaged(format!("there is no call {place}")))?;
            reports.insert(place, report.on(call).map_err(damaged)?);
            length += line.len() as u64;
        }
        Ok((reports, length))
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), JournalError> {
        let mut text = serde_json::to_vec(line).map_err(|error| self.failed(error.into()))?;
        if !planted::bug("journal_line_left_open") {
            text.push(b'\n');
        }
        self.file.write_all(&text).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), source }
    }
}

/// Says which option differs, and how it was.
fn difference(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Option<String> {
    let name = then.keys().chain(now.keys()).find(|name| then.get(*name) != now.get(*name))?;
    Some(match (then.get(name), now.get(name)) {
        (Some(then), Some(now)) => format!("it has {name} {then}, this one {now}").replace("  ", " "),
        (Some(then), None) => format!("it has {name} {then}, this one has not"),
        (None, now) => {
            format!("it is without {name} {}", now.map_or("", String::as_str)).trim_end().to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use callbox_testkit::{MemorySource, sample};

    use super::*;
    use crate::wire::tests::{full_report, text};

    fn session() -> Session {
        let mut session = Session::default();
        let mut source = MemorySource::default();
        for name in ["f", "g", "h"] {
            let mut call = source.push(sample::record("toy", name), &[]);
            call.tensor_details = Vec::new().into();
            session.calls.push(call);
        }
        session
    }

    fn binding(session: &Session) -> Binding {
        let options = BTreeMap::from([("--atol".to_owned(), "2".to_owned())]);
        Binding { session: "/dumps".to_owned(), identity: identity(session), options }
    }

    /// A journal with reports on the last call and on the first.
    fn written(folder: &Path, session: &Session) -> PathBuf {
        let path = folder.join("journal");
        let mut journal = Journal::create(&path, &binding(session)).unwrap();
        for place in [2, 0] {
            journal.append(place, &full_report(&session.calls[place])).unwrap();
        }
        path
    }

    fn resumed(path: &Path, session: &Session) -> Vec<usize> {
        let (_, reports) = Journal::resume(path, &binding(session), session).unwrap();
        for (place, report) in &reports {
            assert_eq!(text(report), text(&full_report(&session.calls[*place])));
        }
        reports.into_keys().collect()
    }

    #[test]
    fn a_journal_that_is_cut_anywhere_loses_the_line_that_is_cut() {
        let (folder, session) = (tempfile::tempdir().unwrap(), session());
        let path = written(folder.path(), &session);
        let whole = std::fs::read(&path).unwrap();
        let ends: Vec<usize> =
            (0..whole.len()).filter(|place| whole[*place] == b'\n').map(|place| place + 1).collect();
        // Every byte of the last line, every seventh before it.
        let lengths = (0..ends[1]).step_by(7).chain(ends[1]..=whole.len());
        for length in lengths {
            std::fs::write(&path, &whole[..length]).unwrap();
            let expected: &[usize] = match ends.iter().filter(|end| **end <= length).count() {
                0 | 1 => &[],
                2 => &[2],
                _ => &[0, 2],
            };
            assert_eq!(resumed(&path, &session), expected, "cut at {length}");
            // What is appended does not run into the cut line.
            let (mut journal, _) = Journal::resume(&path, &binding(&session), &session).unwrap();
            journal.append(1, &full_report(&session.calls[1])).unwrap();
            drop(journal);
            assert!(resumed(&path, &session).contains(&1), "cut at {length}");
        }
    }

    #[test]
    fn a_journal_of_another_replay_is_refused_and_left_as_it_is() {
        let (folder, session) = (tempfile::tempdir().unwrap(), session());
        let path = written(folder.path(), &session);
        let before = std::fs::read(&path).unwrap();
        let mut changed = session.clone();
        changed.calls.pop();
        let good = binding(&session);
        let with = |name: &str, value: &str| {
            let mut options = good.options.clone();
            options.insert(name.to_owned(), value.to_owned());
            Binding { options, ..good.clone() }
        };
        for (binding, session, what) in [
            (Binding { session: "/other".to_owned(), ..good.clone() }, &session, "its session is /dumps;"),
            (binding(&changed), &changed, "the session has changed since;"),
            (with("--atol", "3"), &session, "it has --atol 2, this one 3;"),
            (with("--rtol", "1"), &session, "it is without --rtol 1;"),
            (with("--isolate", ""), &session, "it is without --isolate;"),
            (
                Binding { options: BTreeMap::new(), ..good.clone() },
                &session,
                "it has --atol 2, this one has not;",
            ),
        ] {
            let error = Journal::resume(&path, &binding, session).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_file_of_something_else_is_neither_continued_nor_overwritten() {
        let (folder, session) = (tempfile::tempdir().unwrap(), session());
        let path = folder.path().join("report.json");
        for text in ["{\"journal\":\"mine\"}\n", "no line", "\n"] {
            std::fs::write(&path, text).unwrap();
            let created = Journal::create(&path, &binding(&session)).map(drop);
            let resumed = Journal::resume(&path, &binding(&session), &session).map(drop);
            assert!(matches!(created, Err(JournalError::Foreign(_))), "{text}");
            assert!(matches!(resumed, Err(JournalError::Foreign(_))), "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_journal_that_is_damaged_in_the_middle_is_told_with_its_line() {
        let (folder, session) = (tempfile::tempdir().unwrap(), session());
        let path = written(folder.path(), &session);
        let damaged = std::fs::read_to_string(&path).unwrap().replacen("{\"place\":2", "{\"place\":7", 1);
        std::fs::write(&path, damaged).unwrap();
        let error = Journal::resume(&path, &binding(&session), &session).unwrap_err().to_string();
        assert!(error.contains("is damaged in line 2: there is no call 7;"), "{error}");
    }

    #[test]
    fn a_journal_has_one_writer() {
        let (folder, session) = (tempfile::tempdir().unwrap(), session());
        let path = written(folder.path(), &session);
        let (first, _) = Journal::resume(&path, &binding(&session), &session).unwrap();
        let second = Journal::create(&path, &binding(&session));
        assert!(matches!(second, Err(JournalError::Busy(_))));
        drop(first);
        assert_eq!(resumed(&path, &session), [0, 2]);
    }
}
