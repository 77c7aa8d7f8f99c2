//! Who records.

use std::sync::Arc;

/// The recording process, told from others on the same or another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id; containers may share it.
    pub id: u64,
    /// Name of the machine.
    pub host: Arc<str>,
    /// 64 random bits in hexadecimal, new after a fork.
    pub token: Arc<str>,
}
