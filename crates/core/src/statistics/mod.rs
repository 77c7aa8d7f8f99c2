//! Minimum, maximum, mean and counts of special values: what FlashInfer's level 5 prints of a tensor.
//!
//! Upstream converts a float tensor to f32 before anything else, takes the extremes of an integer tensor as they
//! are and its mean after conversion to f32, and has nothing for other dtypes. So it is here. What differs:
//!
//! - torch sums in f32, in an order that depends on device and CPU. Here at most sixteen elements in a row are
//!   summed in f32, and those sums in f64, so the mean is nearer to the true one. Of floats it may differ from
//!   torch's in the last places of an f32; of integers beyond 2^24 that cancel, by more. The whole sum is rounded to
//!   f32 at last: as with torch, the mean of a tensor whose sum is beyond f32 is infinite.
//! - Where a tensor has zeros of both signs at its end of the scale, torch gives either. Here -0 is less than 0.

mod element;
mod float;
mod scan;
mod widen;

use self::element::Element;
use self::float::{BF16, E4M3FN, E5M2, F16, F32, F64};
use self::scan::Scan;
use crate::dtype::DType;
use crate::elements::check_expansion;
use crate::error::{StageError, chain};
use crate::layout::Layout;
use crate::tensor::{StorageBytes, TensorBuf, TensorView};

/// Numbers that describe a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stats {
    /// Of float64, float32, float16, bfloat16, float8_e4m3fn and float8_e5m2, after conversion to f32: a float64
    /// beyond f32 counts as infinite.
    Float {
        /// Smallest element; NaN if any element is NaN.
        min: f32,
        /// Largest element; NaN if any element is NaN.
        max: f32,
        /// Arithmetic mean; NaN if any element is NaN, or infinities of both signs are among them.
        mean: f32,
        /// How many elements are not finite.
        special: SpecialCounts,
    },
    /// Of int64, int32, int16, int8 and uint8.
    Integer {
        /// Smallest element.
        min: i64,
        /// Largest element.
        max: i64,
        /// Arithmetic mean of the elements after conversion to f32.
        mean: f32,
    },
}

/// How many elements are not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SpecialCounts {
    /// NaN elements.
    pub nan: u64,
    /// Positive or negative infinities.
    pub infinite: u64,
}

/// The statistics of a tensor, or why there are none.
#[derive(Clone, Debug, PartialEq)]
pub enum Statistics {
    /// They were taken.
    Taken(Stats),
    /// The tensor is empty, or of a dtype that FlashInfer prints none for.
    None,
    /// The stream of the tensor is recording a graph: nothing was read.
    Capturing,
    /// The elements could not be read, for this reason.
    Failed(String),
}

impl Stats {
    /// Takes the statistics of a tensor; `None` wherever [`Statistics::of`] gives another answer than
    /// [`Statistics::Taken`].
    pub fn of(tensor: &TensorBuf) -> Option<Stats> {
        match Statistics::of(&tensor.as_view()) {
            Statistics::Taken(stats) => Some(stats),
            Statistics::None | Statistics::Capturing | Statistics::Failed(_) => None,
        }
    }
}

impl Statistics {
    /// Takes the statistics of a tensor.
    ///
    /// A device that can is asked to compute them; otherwise its memory is read in pieces. Expanded dimensions
    /// cost nothing. Views that overlap in other ways fail beyond [`crate::elements::EXPANSION_LIMIT`]. Panics if
    /// the layout does not fit the storage.
    pub fn of(view: &TensorView<'_>) -> Statistics {
        if view.storage.bytes.is_capturing() {
            return Statistics::Capturing;
        }
        let Some(scan) = scan_for(view.dtype) else {
            return Statistics::None;
        };
        if view.layout.numel() == 0 {
            return Statistics::None;
        }
        match on_device(view).map_or_else(|| scan(view), Ok) {
            Ok(stats) => Statistics::Taken(stats),
            Err(reason) => Statistics::Failed(reason),
        }
    }
}

type ScanFn = fn(&TensorView<'_>) -> Result<Stats, String>;

fn scan_for(dtype: DType) -> Option<ScanFn> {
    match dtype {
        DType::Float64 => Some(scan::<F64>),
        DType::Float32 => Some(scan::<F32>),
        DType::Float16 => Some(scan::<F16>),
        DType::BFloat16 => Some(scan::<BF16>),
        DType::Float8E4M3Fn => Some(scan::<E4M3FN>),
        DType::Float8E5M2 => Some(scan::<E5M2>),
        DType::Int64 => Some(scan::<i64>),
        DType::Int32 => Some(scan::<i32>),
        DType::Int16 => Some(scan::<i16>),
        DType::Int8 => Some(scan::<i8>),
        DType::UInt8 => Some(scan::<u8>),
        DType::Float8E4M3FnUz
        | DType::Float8E5M2FnUz
        | DType::Float8E8M0Fnu
        | DType::Float4E2M1FnX2
        | DType::UInt64
        | DType::UInt32
        | DType::UInt16
        | DType::Bool
        | DType::Complex32
        | DType::Complex64
        | DType::Complex128
        | DType::QInt8
        | DType::QUInt8
        | DType::QInt32 => None,
    }
}

/// Asks the device, unless the tensor is marked as negative: of marks it knows nothing.
fn on_device(view: &TensorView<'_>) -> Option<Stats> {
    match view.storage.bytes {
        StorageBytes::Device(memory) if !view.flags.neg => memory.statistics(&view.layout),
        StorageBytes::Device(_) | StorageBytes::Host(_) => None,
    }
}

fn scan<E: Element>(view: &TensorView<'_>) -> Result<Stats, String> {
    let TensorView { dtype, ref layout, ref storage, flags, device } = *view;
    let numel = layout.numel();
    let layout = distinct(layout);
    check_expansion(layout.numel(), storage.bytes.len() / dtype.item_size())
        .map_err(|error| chain(&error))?;
    let copies = numel / layout.numel();
    let mut scan = Scan::<E>::new();
    TensorView { dtype, layout, storage: storage.clone(), flags, device }
        .for_each_piece::<StageError>(&mut |bytes| {
            scan.add(bytes);
            Ok(())
        })
        .map_err(|error| chain(&error))?;
    Ok(scan.finish(copies, numel))
}

/// Leaves out the dimensions that repeat elements and sorts the others by stride: the same elements in longer
/// runs. A transposed tensor becomes one run.
fn distinct(layout: &Layout) -> Layout {
    if layout.is_contiguous() {
        return layout.clone();
    }
    let dims = layout.strides().iter().copied().zip(layout.shape().iter().copied());
    let mut dims: Vec<_> = dims.filter(|(stride, _)| *stride != 0).collect();
    dims.sort_unstable_by(|one, other| other.cmp(one));
    let (strides, shape): (Vec<_>, Vec<_>) = dims.into_iter().unzip();
    Layout::new(&shape, &strides, layout.offset())
        .expect("a part of the dimensions reaches no further than all")
}

#[cfg(test)]
mod tests;
