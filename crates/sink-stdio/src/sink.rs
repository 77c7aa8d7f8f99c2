//! The port: an event becomes text, the text one write.

use std::cell::Cell;
use std::io::{self, Write};
use std::path::PathBuf;

use callbox_core::{Event, LogSink, SinkError};

use crate::destination::LogDestination;
use crate::log_file::LogFile;
use crate::text::push_event;

/// A buffer that grew beyond this is not kept: one call with a long list should not hold memory for ever.
const KEPT_BYTES: usize = 1 << 20;

thread_local! {
    /// The text of this thread's events, kept for its memory.
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// Writes the call log as text.
#[derive(Debug)]
pub struct StdioSink {
    output: Output,
}

#[derive(Debug)]
enum Output {
    Stdout,
    Stderr,
    File(LogFile),
}

impl StdioSink {
    /// Opens the destination. A file is created if there is none, with the folders that are missing, and written
    /// to at its end.
    pub fn open(destination: &LogDestination) -> Result<StdioSink, SinkError> {
        let output = match destination {
            LogDestination::Stdout => Output::Stdout,
            LogDestination::Stderr => Output::Stderr,
            LogDestination::File(path) => Output::File(LogFile::open(path)?),
        };
        Ok(StdioSink { output })
    }

    fn write(&self, text: &[u8]) -> Result<(), SinkError> {
        match &self.output {
            Output::Stdout => write_stream("stdout", io::stdout().lock(), text),
            Output::Stderr => write_stream("stderr", io::stderr().lock(), text),
            Output::File(file) => file.append(text),
        }
    }
}

impl LogSink for StdioSink {
    fn emit<'a>(&self, event: &'a Event<'a>) -> Result<(), SinkError> {
        // While a thread ends it has no buffer any more, and takes a new one.
        let mut text = TEXT.try_with(Cell::take).unwrap_or_default();
        text.clear();
        push_event(&mut text, event);
        let written = self.write(text.as_bytes());
        if text.capacity() <= KEPT_BYTES {
            TEXT.try_with(|kept| kept.set(text)).ok();
        }
        written
    }
}

/// Writes under the stream's lock. Every event ends with a line, so the standard library's buffer passes it on
/// as it is.
fn write_stream(name: &str, mut stream: impl Write, text: &[u8]) -> Result<(), SinkError> {
    let written = stream.write_all(text).and_then(|()| stream.flush());
    written.map_err(|source| SinkError::Io { act: "write", path: PathBuf::from(name), source })
}

#[cfg(test)]
mod tests;
