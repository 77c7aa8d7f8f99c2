//! Why a session could not be converted at all.

use std::io;
use std::path::PathBuf;

use callbox_core::{SinkError, SourceError};
use thiserror::Error;

/// Why a conversion did not take place, or stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The new session may not lie where it was asked for; nothing was touched.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The session cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The new session cannot be written; what is there of it is no whole session.
    #[error("{out} is incomplete", out = .out.display())]
    Sink {
        /// The new session's folder.
        out: PathBuf,
        /// What failed.
        #[source]
        source: SinkError,
    },
}

/// Why a folder cannot take the new session.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Something is in it.
    #[error("{path}: not empty; give a folder that is empty or does not exist", path = .0.display())]
    NotEmpty(PathBuf),
    /// One of the two folders lies inside the other, or is the other.
    #[error(
        "{out} and {dir} lie inside each other; give a folder outside of the session",
        out = .out.display(),
        dir = .dir.display()
    )]
    Nested {
        /// The new session's folder.
        out: PathBuf,
        /// The session's.
        dir: PathBuf,
    },
    /// The path cannot be used.
    #[error("{path}: not usable as a folder for the new session", path = path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
}
