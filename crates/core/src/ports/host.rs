//! The time, and the process.

use std::fmt::Debug;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::process::Process;

/// Tells the time.
///
/// ```
/// use callbox_core::Clock;
/// use time::OffsetDateTime;
///
/// /// A clock that stands still, for tests.
/// #[derive(Debug)]
/// struct FixedClock;
///
/// impl Clock for FixedClock {
///     fn now(&self) -> OffsetDateTime {
///         OffsetDateTime::UNIX_EPOCH
///     }
/// }
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait Clock: Debug + Send + Sync {
    /// Returns the present moment in local time.
    fn now(&self) -> OffsetDateTime;
}

/// Tells who records.
///
/// ```
/// use std::sync::Arc;
///
/// use callbox_core::{Host, Process};
///
/// /// One process for ever, for tests.
/// #[derive(Debug)]
/// struct FixedHost(Arc<Process>);
///
/// impl Host for FixedHost {
///     fn process(&self) -> Arc<Process> {
///         self.0.clone()
///     }
/// }
///
/// let host = FixedHost(Arc::new(Process { id: 7, host: "node".into(), token: "5c0a".into() }));
/// assert_eq!(host.process().id, 7);
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait Host: Debug + Send + Sync {
    /// Returns the identity of the present process: another one after a fork.
    fn process(&self) -> Arc<Process>;
}
