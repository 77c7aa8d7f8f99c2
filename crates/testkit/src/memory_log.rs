//! A log in memory.

use std::sync::{Arc, Mutex, PoisonError};

use callbox_core::{Event, LogSink, SinkError};

/// A [`LogSink`] that keeps what it is given, each event as its `Debug` text. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    events: Arc<Mutex<Vec<String>>>,
}

impl MemoryLog {
    /// Returns the events so far: `CallNamed { at: ..., function: ... }`.
    pub fn events(&self) -> Vec<String> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl LogSink for MemoryLog {
    fn emit<'a>(&self, event: &'a Event<'a>) -> Result<(), SinkError> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{event:?}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, LogCase};

    /// Shares a log with the look behind it.
    #[derive(Debug, Clone, Default)]
    struct Shared(Arc<MemoryLog>);

    impl LogSink for Shared {
        fn emit<'a>(&self, event: &'a Event<'a>) -> Result<(), SinkError> {
            self.0.emit(event)
        }
    }

    #[test]
    fn memory_is_a_log() {
        conformance::log_sink(&|| {
            let log = Shared::default();
            let text = log.clone();
            LogCase { sink: Box::new(log), text: Box::new(move || text.0.events().concat()) }
        });
    }
}
