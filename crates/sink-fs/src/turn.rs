//! How long a lock is waited for.

use std::time::Duration;

use callbox_core::SinkError;

use crate::sync::sleep;

/// How often a lock is asked for, and how long to wait in between: about 50 ms in all, the time that a timer is late
/// included. A holder writes one line; one that was stopped meanwhile, or died and left the lock to a child, must not
/// stop the application.
const TRIES: u32 = 300;
const PAUSE: Duration = Duration::from_micros(100);

/// Tries to get something for as long as a lock may be waited for; `None` if it was in vain.
///
/// What an attempt holds it lets go before the next one: other threads are not kept from trying meanwhile.
pub(crate) fn wait_for_turn<T>(
    mut attempt: impl FnMut() -> Result<Option<T>, SinkError>,
) -> Result<Option<T>, SinkError> {
    for _ in 0..TRIES {
        if let Some(turn) = attempt()? {
            return Ok(Some(turn));
        }
        sleep(PAUSE);
    }
    Ok(None)
}
