//! One error type for each port. Messages are fragments that follow the name of the call or file.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::device::Device;
use crate::elements::ElementError;
use crate::layout::LayoutError;
use crate::name::FunctionName;

/// A boxed cause from outside this crate.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Joins an error and its causes: `outer: inner`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Why a file of tensors could not be encoded or decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes are something else altogether.
    #[error("not a {format} file: {reason}")]
    NotThisFormat {
        /// The format that was expected.
        format: &'static str,
        /// What speaks against it.
        reason: String,
    },
    /// The file ends before it should.
    #[error("cut short: {0}")]
    Truncated(String),
    /// The file contradicts itself.
    #[error("inconsistent: {0}")]
    Inconsistent(String),
    /// The bytes are not those that were written.
    #[error("checksum of `{entry}` is {found:08x} where {expected:08x} was written: the file is damaged")]
    Checksum {
        /// Name inside the container.
        entry: String,
        /// CRC-32 in the container.
        expected: u32,
        /// CRC-32 of the bytes.
        found: u32,
    },
    /// The file asks for something that reading tensors never needs: a class, a function, an object.
    #[error("refused: {0}")]
    Refused(String),
    /// Well-formed, but outside what this version reads.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// A declared size is beyond what the file can hold or what a reader should allocate.
    #[error("over the limit: {0}")]
    Limit(String),
    /// A tensor does not fit its storage.
    #[error("tensor `{key}`")]
    Tensor {
        /// Key of the tensor.
        key: String,
        /// What is wrong with its layout.
        #[source]
        source: LayoutError,
    },
    /// The format cannot express this tensor.
    #[error("tensor `{key}` cannot be kept in this format: {reason}")]
    CannotHold {
        /// Key of the tensor.
        key: String,
        /// Why not.
        reason: String,
    },
    /// The bytes could not be written.
    #[error("failed to write")]
    Write(#[source] io::Error),
    /// Device memory could not be read.
    #[error("failed to stage a device tensor")]
    Stage(#[from] StageError),
}

/// Why a session or a call could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is nothing at this path.
    #[error("{path}: no such folder; give the folder that holds session.jsonl, or one call's folder", path = .0.display())]
    NotFound(PathBuf),
    /// The path leads to something that is no folder.
    #[error("{path}: not a folder; give the folder that holds session.jsonl, or one call's folder", path = .0.display())]
    NotAFolder(PathBuf),
    /// The folder holds neither a session nor a call.
    #[error("{path}: neither a session nor a call: no session.jsonl, no metadata.jsonl, no call folders", path = .0.display())]
    NotASession(PathBuf),
    /// A file could not be read.
    #[error("failed to read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The path leaves the session or leads to something that is no regular file.
    #[error("refused to open {path}: {reason}", path = path.display())]
    UnsafePath {
        /// The path.
        path: PathBuf,
        /// Why it is refused.
        reason: String,
    },
    /// A line of JSON is not a record.
    #[error("{path}, line {line}: {reason}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A file of tensors could not be decoded.
    #[error("{path}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: FormatError,
    },
    /// A file is not the one that was written.
    #[error("{path}: its {what} is {found} where {recorded} was written: the file is damaged, or another one", path = path.display())]
    NotAsWritten {
        /// The file.
        path: PathBuf,
        /// What differs: `size`, `hash`.
        what: &'static str,
        /// What the call's record says.
        recorded: String,
        /// What the file has.
        found: String,
    },
    /// The call has no usable record.
    #[error("{path}: no whole record of the call: {reason}", path = path.display())]
    NoRecord {
        /// The file that should hold it.
        path: PathBuf,
        /// Why its last line is none, with the line's number; or that there is no line at all.
        reason: String,
    },
}

/// Why a call could not be executed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The executor has no such function.
    #[error("no executor for {0}")]
    NoExecutor(FunctionName),
    /// An argument without a default was not recorded.
    #[error("argument `{0}` is missing")]
    MissingArgument(String),
    /// The function has no such argument.
    #[error("there is no argument `{0}`")]
    UnexpectedArgument(String),
    /// An argument came by position and by name.
    #[error("argument `{0}` is given twice")]
    RepeatedArgument(String),
    /// More arguments by position than the function takes.
    #[error("{given} positional arguments, at most {accepted} are accepted")]
    TooManyArguments {
        /// Arguments given by position.
        given: usize,
        /// Arguments accepted by position.
        accepted: usize,
    },
    /// An argument is of another type.
    #[error("argument `{argument}` is a {found}, expected {expected}")]
    ArgumentType {
        /// Name of the argument.
        argument: String,
        /// Types that would do.
        expected: &'static str,
        /// Its type.
        found: String,
    },
    /// An argument could not be made of what was recorded.
    #[error("argument `{argument}`")]
    Argument {
        /// Name of the argument.
        argument: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// The function or its executor panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The function itself returned an error.
    #[error("an error of its own: {0}")]
    Returned(String),
    /// A tensor has the wrong shape.
    #[error("argument `{argument}` has shape {shape:?}, expected {expected}")]
    ArgumentShape {
        /// Name of the argument.
        argument: String,
        /// Its sizes.
        shape: Vec<usize>,
        /// The shape that would do, in the names of the documentation: `[batch, heads, 64]`.
        expected: String,
    },
    /// An argument has a value that the function does not accept.
    #[error("argument `{argument}` is {value}: {reason}")]
    ArgumentValue {
        /// Name of the argument.
        argument: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An argument asks for something that this executor cannot do.
    #[error("argument `{argument}` asks for something that is not supported: {reason}")]
    Unsupported {
        /// Name of the argument.
        argument: String,
        /// What is asked for.
        reason: String,
    },
    /// A tensor's elements could not be read or written.
    #[error("argument `{argument}`")]
    Elements {
        /// Name of the argument.
        argument: String,
        /// What is wrong.
        #[source]
        source: ElementError,
    },
    /// A method was called on an object whose constructor was not replayed.
    #[error(
        "the object was never constructed in this session (it is a clone, or older than the recording): {0}"
    )]
    NotConstructed(String),
    /// A method needs another one to be called first.
    #[error("{needs} was never called on this object")]
    OutOfOrder {
        /// The method that has to come first.
        needs: &'static str,
    },
    /// A size computed from the arguments is beyond this machine.
    #[error("the result would have {0} elements")]
    TooLarge(String),
    /// The device has no kernel for what the function asks of it.
    #[error("no kernel `{kernel}` on {device}")]
    NoKernel {
        /// Name of the kernel.
        kernel: &'static str,
        /// The device.
        device: Device,
    },
    /// The device has no kernel for an argument of this dtype or size, which others have: nothing was tried.
    #[error("the device has no kernel for argument `{argument}`: {reason}")]
    NoKernelFor {
        /// Name of the argument.
        argument: String,
        /// What there is no kernel for.
        reason: String,
    },
    /// The device refused or failed.
    #[error("the device failed")]
    Device(#[source] Cause),
    /// The device failed for good in an earlier call: this one was not tried.
    #[error("device lost")]
    DeviceLost(#[source] Cause),
}

/// Why recording could not write.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SinkError {
    /// A folder or file could not be created, written or renamed.
    #[error("failed to {act} {path}", path = path.display())]
    Io {
        /// What was tried, as a verb: `create`, `write`, `rename`.
        act: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A record is longer than readers take: a long slice was given as a list of numbers, say.
    #[error(
        "failed to record the call: its values take {bytes} bytes as text, more than the {limit} that a line may have; give long slices as tensors"
    )]
    LineTooLong {
        /// Bytes of the line.
        bytes: u64,
        /// The most that it may have.
        limit: u64,
    },
    /// The sink panicked.
    #[error("the sink panicked: {0}")]
    Panicked(String),
    /// The size limit leaves no room for a call's last line.
    #[error("failed to write the last line of {location}: the size limit leaves no room for it", location = location.display())]
    NoRoom {
        /// The call's place.
        location: PathBuf,
    },
    /// The tensors could not be encoded.
    #[error("failed to encode tensors")]
    Format(#[from] FormatError),
}

impl SinkError {
    /// Tells whether the sink itself failed, so that other calls may fare as badly; otherwise it is this call that it
    /// cannot take.
    pub fn is_of_the_sink(&self) -> bool {
        match self {
            SinkError::Io { .. } | SinkError::Panicked(_) => true,
            SinkError::LineTooLong { .. } | SinkError::NoRoom { .. } | SinkError::Format(_) => false,
        }
    }
}

/// Why device memory could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StageError {
    /// The range lies outside the memory.
    #[error("bytes {offset}..{end} of a device memory of {len} bytes")]
    OutOfRange {
        /// First byte.
        offset: usize,
        /// Behind the last byte.
        end: usize,
        /// Size of the memory in bytes.
        len: usize,
    },
    /// It may be read later: somebody writes it, or its stream records a graph.
    #[error("the device memory cannot be read now")]
    NotNow(#[source] Cause),
    /// The device refused or failed.
    #[error("the device failed")]
    Device(#[source] Cause),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_the_error_and_every_cause() {
        let device = ExecError::Device(Box::new(StageError::Device("out of memory".into())));
        assert_eq!(chain(&device), "the device failed: the device failed: out of memory");
        assert_eq!(chain(&SourceError::NotFound("a".into())), SourceError::NotFound("a".into()).to_string());
    }
}
