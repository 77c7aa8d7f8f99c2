//! A clock and a host that always say the same.

use std::sync::Arc;

use callbox_core::{Clock, Host, Process};
use time::OffsetDateTime;

/// A [`Clock`] that stands still.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub OffsetDateTime);

/// Stands at the beginning of 1970.
impl Default for FixedClock {
    fn default() -> FixedClock {
        FixedClock(OffsetDateTime::UNIX_EPOCH)
    }
}

impl Clock for FixedClock {
    fn now(&self) -> OffsetDateTime {
        self.0
    }
}

/// A [`Host`] with one process.
#[derive(Clone, Debug)]
pub struct FixedHost(pub Arc<Process>);

impl Default for FixedHost {
    fn default() -> FixedHost {
        let token = "00000000000000ff".into();
        FixedHost(Arc::new(Process { id: 4711, host: "node".into(), token }))
    }
}

impl Host for FixedHost {
    fn process(&self) -> Arc<Process> {
        self.0.clone()
    }
}
