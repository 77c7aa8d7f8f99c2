//! Standard output and standard error, without the standard library's lock and buffer.

use std::io;
use std::path::Path;

use callbox_core::SinkError;
use rustix::fd::BorrowedFd;
use rustix::io::retry_on_intr;

use crate::size_limit::check_room;
use crate::turn::Turn;

/// One of the process's two output streams.
///
/// Its descriptor is written to directly. The application may hold `std::io::stdout().lock()` while it makes a call
/// that is recorded on this thread or waits for one on another; a log that asked for that lock would wait for ever.
#[derive(Debug)]
pub(crate) struct Stream {
    name: &'static str,
    descriptor: fn() -> BorrowedFd<'static>,
    /// A pipe or a terminal takes a long text in several pieces. All sinks of the process share the turns.
    turn: Turn,
}

pub(crate) static STDOUT: Stream =
    Stream { name: "stdout", descriptor: rustix::stdio::stdout, turn: Turn::new() };

pub(crate) static STDERR: Stream =
    Stream { name: "stderr", descriptor: rustix::stdio::stderr, turn: Turn::new() };

impl Stream {
    /// Writes a text: in one piece where the stream takes it so.
    pub(crate) fn write(&self, text: &[u8]) -> Result<(), SinkError> {
        let _taken = self.turn.take();
        let written =
            check_room((self.descriptor)(), text.len()).and_then(|()| write_all((self.descriptor)(), text));
        written.map_err(|source| SinkError::Io {
            act: "write",
            path: Path::new(self.name).to_owned(),
            source,
        })
    }
}

fn write_all(descriptor: BorrowedFd<'_>, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match retry_on_intr(|| rustix::io::write(descriptor, text))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            len => text = &text[len..],
        }
    }
    Ok(())
}
