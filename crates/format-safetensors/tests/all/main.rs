//! Tests of the crate from outside, one module a subject.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod damage;
mod fixtures;
mod hostile;
mod round_trip;

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
