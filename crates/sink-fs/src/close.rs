//! Closing a file and looking at the answer, which `Drop` cannot.
#![expect(unsafe_code, reason = "closing is unsafe: a descriptor that is closed twice may be another file's")]

use rustix::fd::{IntoRawFd, OwnedFd};
use rustix::io::Errno;

/// Closes a file. On a network file system this is where bytes are sent, and where a full disk may show first.
///
/// The descriptor is gone after an error too.
pub(crate) fn close(descriptor: OwnedFd) -> Result<(), Errno> {
    // SAFETY: `into_raw_fd` gives the descriptor up, so this is its owner, who closes it once.
    unsafe { rustix::io::try_close(descriptor.into_raw_fd()) }
}
