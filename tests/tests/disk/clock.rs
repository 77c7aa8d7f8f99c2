//! A clock that is moved by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use callbox_core::Clock;
use time::{Duration, OffsetDateTime};

/// Seconds that are longer than any pause of recording, and after which it may warn again.
pub(crate) const MINUTE: i64 = 60;

/// Stands until it is moved. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl HandClock {
    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(self.0.load(Ordering::Relaxed))
    }
}
