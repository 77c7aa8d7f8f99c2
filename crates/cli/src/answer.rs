//! What a command prints on standard output.

use std::io::{self, BufWriter, Write};

/// Prints an answer; `false` if its reader has gone away meanwhile, as `head` does, which changes nothing of what was
/// found.
pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<bool> {
    let mut out = BufWriter::new(anstream::stdout().lock());
    was_read(write(&mut out).and_then(|()| out.flush()))
}

/// Tells of what came of writing an answer whether it was read to its end.
pub(crate) fn was_read(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}
