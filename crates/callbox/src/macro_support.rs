//! What the attribute `record` expands to. Not for use by hand: it changes with the macro.

pub use callbox_core::{
    ArgumentPlace, Callsite, LiveArguments, LiveResult, LiveValue, ObjectId, PendingCall, RecordedError, Value,
};

pub use crate::global::{begin, enabled};
