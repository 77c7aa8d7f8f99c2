//! `statistics.cu`: minimum, maximum, mean and counts, so that nothing else of a tensor has to travel.

use std::mem;

use callbox_core::{DType, Layout, SpecialCounts, Stats};
use cudarc::driver::DevicePtr;

use super::launch::Launch;
use super::memory::Run;
use super::modules::Module;
use super::types::{Suffixes, known_suffix};
use crate::error::CudaError;
use crate::guest::{BesideCaptures, quietly, refuse_capturing};
use crate::storage::Storage;

/// Threads of a block: a power of two.
const THREADS: u32 = 256;
/// Elements that are worth a thread.
const SHARE: usize = 16;
const MOST_BLOCKS: usize = 128;
/// Dimensions of a `View`.
const DIMS: usize = 8;
/// Bytes of a `Partial` and of a `Statistics` in `statistics.cu`.
const PARTIAL_BYTES: usize = 40;
const STATISTICS_BYTES: usize = 48;
/// Dtypes of which there are statistics; of others the host makes them.
const SUFFIXES: Suffixes = &[
    (DType::Float64, "f64"),
    (DType::Float32, "f32"),
    (DType::Float16, "f16"),
    (DType::BFloat16, "bf16"),
    (DType::Float8E4M3Fn, "e4m3"),
    (DType::Float8E5M2, "e5m2"),
    (DType::Int64, "i64"),
    (DType::Int32, "i32"),
    (DType::Int16, "i16"),
    (DType::Int8, "i8"),
    (DType::UInt8, "u8"),
];

/// `View` in `statistics.cu`: which elements of a storage.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    count: u64,
    /// 0: they are neighbours.
    dims: u64,
    shape: [u64; DIMS],
    strides: [u64; DIMS],
}

const _: () = assert!(size_of::<View>() == 144);

/// Takes the statistics of some elements of a storage, as they are when the owner's stream has finished.
///
/// `None` where there is no kernel for the dtype or the layout, where there are no elements or more than the storage has,
/// while the stream records a graph, and where anything fails.
pub(crate) fn statistics(storage: &Storage, dtype: DType, layout: &Layout) -> Option<Stats> {
    let suffix = known_suffix(dtype, SUFFIXES)?;
    let view = View::of(layout)?;
    let item_size = dtype.item_size();
    let elements = storage.byte_len() / item_size;
    if layout.numel() == 0 || layout.numel() > elements || layout.check_storage(elements).is_err() {
        return None;
    }
    let numbers =
        quietly(storage.stream().context(), || run(storage, layout.offset() * item_size, &view, suffix));
    Some(read(&numbers.ok()?, suffix))
}

fn is_integer(suffix: &str) -> bool {
    suffix.starts_with(['i', 'u'])
}

impl View {
    /// Leaves out the dimensions that are none; `None` where more are left than a kernel takes.
    fn of(layout: &Layout) -> Option<View> {
        let mut view = View { count: layout.numel() as u64, dims: 0, shape: [0; DIMS], strides: [0; DIMS] };
        if layout.is_contiguous() {
            return Some(view);
        }
        let dims = layout.shape().iter().zip(layout.strides()).filter(|(size, _)| **size != 1);
        for (dim, (&size, &stride)) in dims.enumerate() {
            *view.shape.get_mut(dim)? = size as u64;
            view.strides[dim] = stride as u64;
            view.dims += 1;
        }
        Some(view)
    }
}

/// Runs both kernels on the owner's stream; returns a `Statistics`.
fn run(storage: &Storage, first_byte: usize, view: &View, suffix: &str) -> Result<Vec<u8>, CudaError> {
    let stream = storage.stream();
    refuse_capturing(stream)?;
    // The lock first: who writes may still tell a worker what to do.
    let kept = storage.owner_soon()?;
    let _beside = BesideCaptures::begin();
    storage.wait_for_workers()?;
    let run = Run::new(storage.device(), stream.clone());
    let bytes = kept.owner().bytes();
    // Lets the stream wait for a writer on another one, where cudarc keeps track of them. That this is a reader is not noted,
    // as where bytes are staged: a capture that the application begins later may not wait for an event from before.
    let (start, reader) = bytes.device_ptr(stream);
    mem::forget(reader);
    let n_blocks = (view.count as usize).div_ceil(THREADS as usize * SHARE).min(MOST_BLOCKS) as u32;
    let partials = run.zeros(n_blocks as usize * PARTIAL_BYTES)?;
    let numbers = run.zeros(STATISTICS_BYTES)?;
    let launch = |name: String, n_blocks: u32| Launch {
        module: Module::Statistics,
        name,
        grid: [n_blocks, 1, 1],
        block: [THREADS, 1, 1],
        shared_bytes: 0,
    };
    run.launch(
        &launch(format!("statistics_partial_{suffix}"), n_blocks),
        &[&(start + first_byte as u64), view, &partials.address()],
    )?;
    let kind = if is_integer(suffix) { "integer" } else { "float" };
    run.launch(
        &launch(format!("statistics_finish_{kind}"), 1),
        &[&partials.address(), &n_blocks, &view.count, &numbers.address()],
    )?;
    run.download(&numbers, STATISTICS_BYTES)
}

/// Reads a `Statistics`.
fn read(bytes: &[u8], suffix: &str) -> Stats {
    let (words, halves) = (bytes.as_chunks::<8>().0, bytes.as_chunks::<4>().0);
    let word = |place: usize| u64::from_le_bytes(words[place]);
    let float = |place: usize| f32::from_le_bytes(halves[place]);
    if is_integer(suffix) {
        return Stats::Integer { min: word(0).cast_signed(), max: word(1).cast_signed(), mean: float(6) };
    }
    let special = SpecialCounts { nan: word(4), infinite: word(5) };
    Stats::Float { min: float(4), max: float(5), mean: float(6), special }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_has_no_dimensions_of_one_element_and_at_most_eight_others() {
        let dims = |shape: &[usize], strides: &[usize]| {
            View::of(&Layout::new(shape, strides, 0).unwrap()).map(|view| view.dims)
        };
        assert_eq!(dims(&[4, 5], &[5, 1]), Some(0));
        assert_eq!(dims(&[4, 1, 5], &[1, 3, 4]), Some(2));
        assert_eq!(dims(&[2; 8], &[1, 2, 4, 8, 16, 32, 64, 128]), Some(8));
        assert_eq!(dims(&[2; 9], &[1, 2, 4, 8, 16, 32, 64, 128, 256]), None);
    }
}
