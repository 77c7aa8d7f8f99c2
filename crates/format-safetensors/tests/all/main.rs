//! Tests of the crate from outside, one module a subject.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod damage;
mod fixtures;
mod hostile_headers;
mod round_trip;

use std::error::Error;
use std::time::{Duration, Instant};

use callbox_core::{Bytes, FormatError, LoadedTensor, TensorBuf, TensorGroup, TensorMap, TensorSerializer};
use callbox_format_safetensors::SafetensorsSerializer;

/// Decodes a file; whatever is in it, that is done in a moment.
#[expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
fn decode(file: Vec<u8>) -> Result<TensorMap, FormatError> {
    let start = Instant::now();
    let result = SafetensorsSerializer.decode(Bytes::from(file));
    // A hundredth of it is the rule; the rest is for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
    result
}

fn encode(group: &TensorGroup<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    SafetensorsSerializer.encode(group, &mut file).unwrap();
    file
}

fn whole<'a>(tensors: &'a TensorMap, key: &str) -> &'a TensorBuf {
    match tensors.get(key) {
        Some(LoadedTensor::Whole(tensor)) => tensor,
        other => panic!("{key}: {other:?}"),
    }
}

/// Puts a header in front of data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Checks that a file is refused, with a message that begins with `kind` and holds `reason`.
#[track_caller]
fn check_refused(file: Vec<u8>, kind: &str, reason: &str) {
    let error = decode(file).expect_err("the file must be refused");
    let message = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    assert!(message.starts_with(kind), "not {kind}: {message}");
    assert!(message.contains(reason), "nothing of `{reason}`: {message}");
}
