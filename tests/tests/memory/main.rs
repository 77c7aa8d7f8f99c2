//! What hostile files can make the readers allocate, measured.
//!
//! A binary of its own: its allocator counts for the whole process.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]
#![expect(clippy::print_stdout, reason = "the figures of each case are worth a look")]

mod allocator;
mod corpus;
mod hostile;

use std::hint::black_box;
use std::sync::Arc;

use callbox_core::elements::EXPANSION_LIMIT;
use callbox_core::{DType, DumpSource, Group, LoadedTensor, Stats, TensorBuf};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{FsSource, ReadOptions};

use crate::allocator::{alone, peak_of};
use crate::hostile::{HostileSession, expanded_pt, pt, safetensors};

pub(crate) const MIB: usize = 1 << 20;
/// What reading may take whatever the session is.
const FIXED: usize = MIB;
/// What reading may take for each byte of the largest file. An argument `[{},{},{},...]` comes nearest, at 83:
/// three bytes become a value of JSON and then one of the record, in vectors that double.
const PER_BYTE: usize = 96;
/// The f32 values of the largest tensor that may be expanded from less.
const EXPANDED: usize = EXPANSION_LIMIT * size_of::<f32>();

/// Does what a program does with a session: opens, lists, reads records, loads tensors, copies them out.
fn read_everything(session: &HostileSession) {
    let formats = vec![Arc::new(PtSerializer) as _, Arc::new(SafetensorsSerializer) as _];
    let source = FsSource::open(session.path(), formats, ReadOptions::default()).unwrap();
    let listed = source.calls().unwrap();
    assert_eq!(listed.calls.len(), 1, "whatever is in the files, the call is listed");
    for call in &listed.calls {
        drop(source.record(call));
        for group in Group::ALL {
            let tensors = source.load(call, group).ok().flatten().unwrap_or_default();
            for (_, tensor) in tensors.iter() {
                if let LoadedTensor::Whole(tensor) = tensor {
                    drop(tensor.to_f32());
                    Stats::of(tensor);
                }
            }
        }
    }
}

/// Checks that reading all of a session stays within the bound; `values` is what copying tensors out may add.
#[track_caller]
fn check(session: &HostileSession, values: usize) {
    let (peak, size) = (peak_of(|| read_everything(session)), session.size());
    let bound = FIXED + PER_BYTE * size + values;
    assert!(peak <= bound, "{peak} bytes were allocated to read {size}, at most {bound} may be");
}

#[test]
fn strides_of_zero_take_no_more_than_an_expanded_tensor_may() {
    let _alone = alone();
    for shape in [&[EXPANSION_LIMIT][..], &[EXPANSION_LIMIT + 1], &[1 << 50], &[1 << 20, 1 << 20, 1 << 20]] {
        check(&HostileSession::with_inputs("pt", &expanded_pt(shape)), EXPANDED);
    }
}

#[test]
fn shapes_of_petabytes_take_memory_in_proportion_to_their_file() {
    let _alone = alone();
    for (shape, end) in [
        ("[1125899906842624]", 4),
        ("[1125899906842624]", 4503599627370496),
        ("[0,4611686018427387904]", 0),
        ("[4611686018427387904,4611686018427387904]", 4),
    ] {
        check(&HostileSession::with_inputs("safetensors", &safetensors(shape, end)), 0);
    }
}

#[test]
fn lists_in_a_record_take_memory_in_proportion_to_their_line() {
    let _alone = alone();
    let plain = |item: &str, times: usize| format!("[{}{item}]", format!("{item},").repeat(times - 1));
    let list =
        |items: &str| format!("{{\"type\":\"list\",\"length\":1,\"items\":{items},\"truncated\":false}}");
    for input in [
        list(&plain("0", MIB + 1)),
        list(&plain("\"\"", MIB + 1)),
        list(&plain("{}", MIB + 1)),
        list(&plain("[]", MIB + 1)),
        plain("{}", MIB + 1),
        format!("{{\"type\":\"dict\",\"items\":{}}}", plain("{\"key\":0,\"value\":{}}", MIB / 8 + 1)),
        "[".repeat(MIB),
        format!("{}1{}", "{\"type\":\"list\",\"items\":[".repeat(MIB / 32), "]}".repeat(MIB / 32)),
    ] {
        check(&HostileSession::with_argument(&input), 0);
    }
}

#[test]
fn a_line_without_an_end_takes_memory_in_proportion_to_its_file() {
    let _alone = alone();
    for start in ["{\"function_name\": \"", "{", "[", "\u{0}", "1"] {
        check(&HostileSession::with_index(start.repeat(4 * MIB / start.len()).as_bytes()), 0);
    }
    let text = format!("{{\"function_name\": \"{}", "a".repeat(4 * MIB));
    check(&HostileSession::with_index(text.as_bytes()), 0);
}

#[test]
fn a_file_cut_short_takes_memory_in_proportion_to_what_is_left() {
    let _alone = alone();
    let values = vec![1.0; MIB];
    let file = pt(&TensorBuf::from_f32(DType::Float32, &[MIB], &values).unwrap());
    for len in [file.len() - 1, file.len() / 2, 100, 1] {
        check(&HostileSession::with_inputs("pt", &file[..len]), 0);
    }
}

#[test]
fn the_peak_is_seen() {
    let _alone = alone();
    let peak = peak_of(|| drop(black_box(vec![0u8; MIB])));
    assert!((MIB..2 * MIB).contains(&peak), "{peak}");
}
