//! Why a call is not dumped.

use crate::error::SinkError;

/// Why a dump did not come to its inputs. Nothing of it is left, unless `leftover` says otherwise.
#[derive(Debug)]
pub(crate) struct NotDumped {
    pub(crate) cause: NotDumpedCause,
    /// Why the place could not be removed again.
    pub(crate) leftover: Option<Box<SinkError>>,
}

#[derive(Debug)]
pub(crate) enum NotDumpedCause {
    /// It needs more bytes than are left.
    OverSize,
    /// It would take space that is to stay free; so many bytes are free.
    LowSpace(u64),
    /// The sink failed.
    Sink(Box<SinkError>),
}

impl From<SinkError> for NotDumpedCause {
    fn from(error: SinkError) -> NotDumpedCause {
        NotDumpedCause::Sink(Box::new(error))
    }
}

impl From<NotDumpedCause> for NotDumped {
    fn from(cause: NotDumpedCause) -> NotDumped {
        NotDumped { cause, leftover: None }
    }
}

impl From<SinkError> for NotDumped {
    fn from(error: SinkError) -> NotDumped {
        NotDumpedCause::from(error).into()
    }
}
