//! What a recorder says of itself.

use std::sync::Mutex;

use callbox_core::{Event, LogSink, SinkError};

/// The most warnings of a recorder in a minute.
pub(crate) const MOST_IN_A_MINUTE: usize = 5;

/// A log that keeps the recorder's own sentences.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<Vec<String>>);

impl Notices {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Tells whether one of them has these words.
    pub(crate) fn say(&self, words: &str) -> bool {
        self.0.lock().unwrap().iter().any(|text| text.contains(words))
    }
}

impl LogSink for Notices {
    fn emit<'a>(&self, event: &'a Event<'a>) -> Result<(), SinkError> {
        if let Event::Notice { text } = event {
            self.0.lock().unwrap().push((*text).to_owned());
        }
        Ok(())
    }
}
