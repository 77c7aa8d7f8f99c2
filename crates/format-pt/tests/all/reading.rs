//! Reading files that may be anything.

use std::time::{Duration, Instant};

use callbox_core::{Bytes, FormatError, TensorMap, TensorSerializer};
use callbox_format_pt::PtSerializer;

/// Decodes a file; whatever is in it, that is done in a moment.
#[expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
pub(crate) fn decode(file: Vec<u8>) -> Result<TensorMap, FormatError> {
    let start = Instant::now();
    let result = PtSerializer.decode(Bytes::from(file));
    // A hundredth of it is the rule; the rest is for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
    result
}

/// Checks that a file is refused, with a message that begins with `kind` and holds `reason`.
#[track_caller]
pub(crate) fn check_refused(file: Vec<u8>, kind: &str, reason: &str) {
    let error = decode(file).expect_err("the file must be refused");
    let message = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    assert!(message.starts_with(kind), "not {kind}: {message}");
    assert!(message.contains(reason), "nothing of `{reason}`: {message}");
}
