//! The port's implementation.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use callbox_core::{Event, LogSink, SinkError};

use crate::destination::{LogDestination, has_process_id, with_process_id};
use crate::text::push_event;

/// A buffer that grew larger than this is let go of after the event.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

thread_local! {
    /// Where this thread's events are spelled before they go out in one write.
    static BUFFER: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Writes the call log.
#[derive(Debug)]
pub struct StdioSink {
    place: Place,
}

#[derive(Debug)]
enum Place {
    Stdout,
    Stderr,
    File(LogFile),
}

/// A file of lines, one for each process where the path says so.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    open: Mutex<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<File>,
    /// The process whose id is in the path; a forked child opens its own file.
    process: u32,
}

impl StdioSink {
    /// Opens the destination. Missing folders of a file are made; what the file holds already stays.
    pub fn open(destination: &LogDestination) -> Result<StdioSink, SinkError> {
        let place = match destination {
            LogDestination::Stdout => Place::Stdout,
            LogDestination::Stderr => Place::Stderr,
            LogDestination::File(path) => {
                let process = process::id();
                let open = Mutex::new(OpenFile { file: open(path, process)?, process });
                Place::File(LogFile { path: path.clone(), open })
            }
        };
        Ok(StdioSink { place })
    }

    fn write(&self, text: &str) -> Result<(), SinkError> {
        match &self.place {
            Place::Stdout => stream("standard output", text, &mut io::stdout().lock()),
            Place::Stderr => stream("standard error", text, &mut io::stderr().lock()),
            Place::File(log) => log.write(text, process::id()),
        }
    }
}

impl LogSink for StdioSink {
    fn emit<'a>(&self, event: &'a Event<'a>) -> Result<(), SinkError> {
        BUFFER.with(|buffer| match buffer.try_borrow_mut() {
            Ok(mut buffer) => {
                buffer.clear();
                push_event(&mut buffer, event);
                let written = self.write(&buffer);
                if buffer.capacity() > KEPT_BUFFER_BYTES {
                    *buffer = String::new();
                }
                written
            }
            // An event within an event: the buffer is in use.
            Err(_) => {
                let mut text = String::new();
                push_event(&mut text, event);
                self.write(&text)
            }
        })
    }
}

impl LogFile {
    fn write(&self, text: &str, process: u32) -> Result<(), SinkError> {
        let file = {
            let mut open_file = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if open_file.process != process && has_process_id(&self.path) {
                *open_file = OpenFile { file: open(&self.path, process)?, process };
            }
            open_file.file.clone()
        };
        // The file is open for append: one write is one piece, whoever else writes.
        (&*file).write_all(text.as_bytes()).map_err(|source| failed("write", &self.path, source))
    }
}

fn stream(name: &str, text: &str, out: &mut dyn Write) -> Result<(), SinkError> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|source| failed("write to", Path::new(name), source))
}

fn open(path: &Path, process: u32) -> Result<Arc<File>, SinkError> {
    let path = with_process_id(path, process);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| failed("create", folder, source))?;
    }
    let file = OpenOptions::new().append(true).create(true).open(&path);
    file.map(Arc::new).map_err(|source| failed("open the log", &path, source))
}

fn failed(act: &'static str, path: &Path, source: io::Error) -> SinkError {
    SinkError::Io { act, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_file(sink: &StdioSink) -> &LogFile {
        match &sink.place {
            Place::File(log) => log,
            Place::Stdout | Place::Stderr => panic!("a file"),
        }
    }

    #[test]
    fn missing_folders_are_made_and_the_process_id_is_put_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/of_%i/api.log");
        let sink = StdioSink::open(&LogDestination::File(path)).unwrap();
        sink.emit(&Event::Notice { text: "one" }).unwrap();
        let written = folder.path().join(format!("logs/of_{}/api.log", process::id()));
        assert_eq!(fs::read_to_string(written).unwrap(), "one\n");
    }

    #[test]
    fn what_a_file_holds_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.log");
        fs::write(&path, "before\n").unwrap();
        let sink = StdioSink::open(&LogDestination::File(path.clone())).unwrap();
        sink.emit(&Event::Notice { text: "after" }).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "before\nafter\n");
    }

    #[test]
    fn a_forked_child_writes_its_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let sink = StdioSink::open(&LogDestination::File(folder.path().join("%i.log"))).unwrap();
        let (parent, child) = (process::id(), process::id() + 1);
        log_file(&sink).write("of the parent\n", parent).unwrap();
        log_file(&sink).write("of the child\n", child).unwrap();
        let read = |process: u32| fs::read_to_string(folder.path().join(format!("{process}.log"))).unwrap();
        assert_eq!((read(parent).as_str(), read(child).as_str()), ("of the parent\n", "of the child\n"));
    }

    #[test]
    fn a_log_that_cannot_be_opened_or_written_is_an_error_that_names_it() {
        let error = StdioSink::open(&LogDestination::File("/dev/null/api.log".into())).unwrap_err();
        assert_eq!(error.to_string(), "failed to create /dev/null");
        let full = StdioSink::open(&LogDestination::File("/dev/full".into())).unwrap();
        let error = full.emit(&Event::Notice { text: "one" }).unwrap_err();
        assert_eq!(error.to_string(), "failed to write /dev/full");
    }
}
