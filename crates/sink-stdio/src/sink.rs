//! The port: an event becomes text, the text one write.

use std::cell::Cell;

use callbox_core::{Event, LogSink, SinkError};

use crate::destination::LogDestination;
use crate::log_file::LogFile;
use crate::stream::{STDERR, STDOUT, Stream};
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
    Stream(&'static Stream),
    File(LogFile),
}

impl StdioSink {
    /// Opens the destination. A file is created if there is none, with the folders that are missing, and written
    /// to at its end. A FIFO that nobody reads is an error: nothing here waits for a reader.
    ///
    /// The two streams are written to past `std::io::stdout()` and `stderr()`: neither their locks nor the buffer
    /// of standard output matter. What the application prints comes before or behind an event in the order in which
    /// it is flushed, which `println!` does and `print!` without a line break does not.
    pub fn open(destination: &LogDestination) -> Result<StdioSink, SinkError> {
        let output = match destination {
            LogDestination::Stdout => Output::Stream(&STDOUT),
            LogDestination::Stderr => Output::Stream(&STDERR),
            LogDestination::File(path) => Output::File(LogFile::open(path)?),
        };
        Ok(StdioSink { output })
    }

    fn write(&self, text: &[u8]) -> Result<(), SinkError> {
        match &self.output {
            Output::Stream(stream) => stream.write(text),
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

#[cfg(test)]
mod tests;
