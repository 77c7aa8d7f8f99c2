//! What a worker process may take.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What one worker process may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Longest that one call may take, its files' reading and its comparison included.
    pub time: Option<Duration>,
    /// Most memory that the process may hold, in bytes.
    pub memory: Option<u64>,
}

/// Binds this process, which has to be a worker, for the rest of its life.
///
/// The limit is on data and not on address space: what is only reserved (stacks of threads, arenas, a device's
/// address range) costs nothing. A worker leaves no core file, which would be as large as the call's tensors.
/// Where memory runs out without a limit, the kernel is asked to end the worker rather than its parent.
pub(crate) fn bind(memory: Option<u64>) {
    lower(Resource::Core, 0);
    if let Some(bytes) = memory {
        lower(Resource::Data, bytes);
    }
    // Only Linux has it, and a process without the file is as well off as before.
    fs::write("/proc/self/oom_score_adj", "1000").ok();
}

/// Lowers both limits. A system that knows no such limit has none.
fn lower(resource: Resource, limit: u64) {
    let maximum = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
    setrlimit(resource, Rlimit { current: Some(maximum), maximum: Some(maximum) }).ok();
}
