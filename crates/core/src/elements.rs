//! Reading the logical elements of a tensor as numbers, and writing numbers back with one rounding.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use thiserror::Error;

use crate::dtype::{DType, DTypeKind};
use crate::layout::Run;
use crate::narrow_float::{
    self, E2M1_VALUES, E4M3FN, E4M3FN_VALUES, E4M3FNUZ, E4M3FNUZ_VALUES, E5M2, E5M2_VALUES, E5M2FNUZ,
    E5M2FNUZ_VALUES,
};
use crate::tensor::TensorBuf;

/// The most elements that an *expanded* tensor may have when its elements are copied out: 64 MiB of f32.
///
/// A tensor that has no more elements than its storage is bounded by its file. One with strides of zero is
/// not: a file of a kilobyte can describe petabytes.
pub const EXPANSION_LIMIT: usize = 1 << 24;

/// Fails if a tensor of `numel` elements over a storage of `stored` is out of proportion to it: more than the
/// storage has, and more than [`EXPANSION_LIMIT`].
pub fn check_expansion(numel: usize, stored: usize) -> Result<(), ElementError> {
    if numel > stored.max(EXPANSION_LIMIT) {
        return Err(ElementError::TooLarge { numel, stored });
    }
    Ok(())
}

/// Why elements could not be read or written as numbers.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementError {
    /// The dtype has no such reading.
    #[error("{dtype} elements cannot be read as {wanted}")]
    Dtype {
        /// The tensor's dtype.
        dtype: DType,
        /// The kind of number asked for.
        wanted: &'static str,
    },
    /// The tensor is expanded beyond what may be copied out.
    #[error("an expanded tensor of {numel} elements over a storage of {stored} is too large to copy out")]
    TooLarge {
        /// Logical elements.
        numel: usize,
        /// Elements in the storage.
        stored: usize,
    },
    /// The values do not fill the tensor.
    #[error("{values} values for a tensor of {numel} elements")]
    Count {
        /// Values given.
        values: usize,
        /// Elements of the tensor.
        numel: usize,
    },
}

impl TensorBuf {
    /// Fails if copying the logical elements out would need memory out of proportion to the storage.
    pub fn check_expansion(&self) -> Result<(), ElementError> {
        check_expansion(self.numel(), self.storage().len() / self.dtype().item_size())
    }

    /// Copies the logical elements out as f32 in row-major order; integers and bools convert too.
    ///
    /// `float4_e2m1fn_x2` gives two values for each element, the low nibble first.
    pub fn to_f32(&self) -> Result<Vec<f32>, ElementError> {
        let per_element = if self.dtype().kind() == DTypeKind::PackedFloat { 2 } else { 1 };
        self.collect(per_element, |run, out| self.read_run_f32(run, out))
    }

    /// Copies the logical elements out as f64 in row-major order; exact for every float dtype.
    pub fn to_f64(&self) -> Result<Vec<f64>, ElementError> {
        if self.dtype() != DType::Float64 {
            return Ok(self.to_f32()?.into_iter().map(f64::from).collect());
        }
        let sign = if self.is_neg() { -1.0 } else { 1.0 };
        self.collect(1, |run, out| {
            self.decode(run, out, |lane| sign * f64::from_le_bytes(lane));
            Ok(())
        })
    }

    /// Copies the logical elements of an integer or bool tensor out as i64 in row-major order.
    ///
    /// A `uint64` above `i64::MAX` saturates.
    pub fn to_i64(&self) -> Result<Vec<i64>, ElementError> {
        self.collect(1, |run, out| self.read_run_i64(run, out))
    }

    /// Reads one run of an integer or bool tensor as i64; see [`TensorBuf::read_run_f32`] for the run.
    pub fn read_run_i64(&self, run: Run, out: &mut [i64]) -> Result<(), ElementError> {
        match self.dtype() {
            DType::Int64 => self.decode(run, out, i64::from_le_bytes),
            DType::Int32 | DType::QInt32 => self.decode(run, out, |lane| i64::from(i32::from_le_bytes(lane))),
            DType::Int16 => self.decode(run, out, |lane| i64::from(i16::from_le_bytes(lane))),
            DType::Int8 | DType::QInt8 => self.decode(run, out, |lane| i64::from(i8::from_le_bytes(lane))),
            DType::UInt64 => {
                self.decode(run, out, |lane| i64::try_from(u64::from_le_bytes(lane)).unwrap_or(i64::MAX))
            }
            DType::UInt32 => self.decode(run, out, |lane| i64::from(u32::from_le_bytes(lane))),
            DType::UInt16 => self.decode(run, out, |lane| i64::from(u16::from_le_bytes(lane))),
            DType::UInt8 | DType::QUInt8 | DType::Bool => self.decode(run, out, |[byte]| i64::from(byte)),
            DType::Float64
            | DType::Float32
            | DType::Float16
            | DType::BFloat16
            | DType::Float8E4M3Fn
            | DType::Float8E5M2
            | DType::Float8E4M3FnUz
            | DType::Float8E5M2FnUz
            | DType::Float8E8M0Fnu
            | DType::Float4E2M1FnX2
            | DType::Complex32
            | DType::Complex64
            | DType::Complex128 => {
                return Err(ElementError::Dtype { dtype: self.dtype(), wanted: "integers" });
            }
        }
        Ok(())
    }

    /// Reads one run of elements as f32 into `out`, which holds `run.len` values (twice that for packed
    /// dtypes).
    ///
    /// The run must lie inside this tensor's storage: take it from the layout, or cut it from one of the
    /// layout's runs.
    pub fn read_run_f32(&self, run: Run, out: &mut [f32]) -> Result<(), ElementError> {
        match self.dtype() {
            DType::Float32 => self.decode(run, out, f32::from_le_bytes),
            DType::Float64 => self.decode(run, out, |lane| f64::from_le_bytes(lane) as f32),
            DType::Float16 => self.read_run_f16(run, out),
            DType::BFloat16 => {
                self.decode(run, out, |lane| f32::from_bits(u32::from(u16::from_le_bytes(lane)) << 16))
            }
            DType::Float8E4M3Fn => self.decode(run, out, |[code]| E4M3FN_VALUES[usize::from(code)]),
            DType::Float8E5M2 => self.decode(run, out, |[code]| E5M2_VALUES[usize::from(code)]),
            DType::Float8E4M3FnUz => self.decode(run, out, |[code]| E4M3FNUZ_VALUES[usize::from(code)]),
            DType::Float8E5M2FnUz => self.decode(run, out, |[code]| E5M2FNUZ_VALUES[usize::from(code)]),
            DType::Float8E8M0Fnu => self.decode(run, out, |[code]| narrow_float::decode_e8m0(code)),
            DType::Float4E2M1FnX2 => self.decode(run, out.as_chunks_mut().0, |[codes]| {
                [E2M1_VALUES[usize::from(codes & 15)], E2M1_VALUES[usize::from(codes >> 4)]]
            }),
            DType::Int64 => self.decode(run, out, |lane| i64::from_le_bytes(lane) as f32),
            DType::Int32 | DType::QInt32 => self.decode(run, out, |lane| i32::from_le_bytes(lane) as f32),
            DType::Int16 => self.decode(run, out, |lane| f32::from(i16::from_le_bytes(lane))),
            DType::Int8 | DType::QInt8 => self.decode(run, out, |lane| f32::from(i8::from_le_bytes(lane))),
            DType::UInt64 => self.decode(run, out, |lane| u64::from_le_bytes(lane) as f32),
            DType::UInt32 => self.decode(run, out, |lane| u32::from_le_bytes(lane) as f32),
            DType::UInt16 => self.decode(run, out, |lane| f32::from(u16::from_le_bytes(lane))),
            DType::UInt8 | DType::QUInt8 | DType::Bool => self.decode(run, out, |[byte]| f32::from(byte)),
            DType::Complex32 | DType::Complex64 | DType::Complex128 => {
                return Err(ElementError::Dtype { dtype: self.dtype(), wanted: "real numbers" });
            }
        }
        if self.is_neg() {
            out.iter_mut().for_each(|value| *value = -*value);
        }
        Ok(())
    }

    /// Whole slices of f16 convert several times faster than single elements (they reach the F16C
    /// instructions), so the run passes through a small aligned buffer.
    fn read_run_f16(&self, run: Run, out: &mut [f32]) {
        let mut halves = [f16::ZERO; 256];
        let mut start = run.start;
        for out in out.chunks_mut(halves.len()) {
            let halves = &mut halves[..out.len()];
            self.decode(Run { start, ..run }, halves, f16::from_le_bytes);
            halves.convert_to_f32_slice(out);
            start += out.len() * run.stride;
        }
    }

    fn collect<V: Copy + Default>(
        &self,
        per_element: usize,
        mut read: impl FnMut(Run, &mut [V]) -> Result<(), ElementError>,
    ) -> Result<Vec<V>, ElementError> {
        self.check_expansion()?;
        let mut values = vec![V::default(); self.numel() * per_element];
        let mut rest = values.as_mut_slice();
        for run in self.layout().runs() {
            let (row, behind) = rest.split_at_mut(run.len * per_element);
            read(run, row)?;
            rest = behind;
        }
        Ok(values)
    }

    /// Decodes one value for each slot of `out` from a run's bytes; `N` is the item size.
    fn decode<const N: usize, V>(&self, run: Run, out: &mut [V], decode: impl Fn([u8; N]) -> V) {
        let bytes = &self.storage()[run.start * N..];
        if run.stride == 1 {
            let (lanes, _) = bytes.as_chunks();
            for (out, lane) in out.iter_mut().zip(lanes) {
                *out = decode(*lane);
            }
            return;
        }
        for (position, out) in out.iter_mut().enumerate() {
            let lane = bytes[position * run.stride * N..].first_chunk();
            *out = decode(*lane.expect("the layout was checked against the storage"));
        }
    }

    /// Builds a row-major tensor from f32 values, each rounded once to `dtype` (to nearest, ties to even).
    ///
    /// Integers saturate; eight-bit floats saturate at their largest finite value.
    pub fn from_f32(dtype: DType, shape: &[usize], values: &[f32]) -> Result<TensorBuf, ElementError> {
        let mut bytes = Vec::with_capacity(values.len() * dtype.item_size());
        encode(dtype, values, &mut bytes)?;
        let numel = bytes.len() / dtype.item_size();
        TensorBuf::from_elements(dtype, shape, bytes).map_err(|_| ElementError::Count {
            values: numel,
            numel: shape.iter().copied().fold(1, usize::saturating_mul),
        })
    }

    /// Replaces the logical elements by `values` (row-major), each rounded once to this tensor's dtype.
    ///
    /// Shape, strides and offset stay; the storage becomes this tensor's own.
    pub fn write_f32(&mut self, values: &[f32]) -> Result<(), ElementError> {
        let mut bytes = Vec::with_capacity(values.len() * self.dtype().item_size());
        encode(self.dtype(), values, &mut bytes)?;
        self.write_elements(&bytes)
    }

    /// Replaces the logical elements by `bytes`: elements of this tensor's dtype, row-major, little endian.
    pub fn write_elements(&mut self, bytes: &[u8]) -> Result<(), ElementError> {
        let item_size = self.dtype().item_size();
        if bytes.len() != self.numel() * item_size {
            return Err(ElementError::Count { values: bytes.len() / item_size, numel: self.numel() });
        }
        let mut storage = self.storage().to_vec();
        let mut items = bytes.chunks_exact(item_size);
        for run in self.layout().runs() {
            for (position, item) in items.by_ref().take(run.len).enumerate() {
                let at = (run.start + position * run.stride) * item_size;
                storage[at..at + item_size].copy_from_slice(item);
            }
        }
        self.replace_storage(storage.into());
        Ok(())
    }
}

fn encode(dtype: DType, values: &[f32], out: &mut Vec<u8>) -> Result<(), ElementError> {
    match dtype {
        DType::Float64 => values.iter().for_each(|&v| out.extend(f64::from(v).to_le_bytes())),
        DType::Float32 => values.iter().for_each(|v| out.extend(v.to_le_bytes())),
        DType::Float16 => values.iter().for_each(|&v| out.extend(f16::from_f32(v).to_le_bytes())),
        DType::BFloat16 => values.iter().for_each(|&v| out.extend(bf16::from_f32(v).to_le_bytes())),
        DType::Float8E4M3Fn => out.extend(values.iter().map(|&v| E4M3FN.encode(v))),
        DType::Float8E5M2 => out.extend(values.iter().map(|&v| E5M2.encode(v))),
        DType::Float8E4M3FnUz => out.extend(values.iter().map(|&v| E4M3FNUZ.encode(v))),
        DType::Float8E5M2FnUz => out.extend(values.iter().map(|&v| E5M2FNUZ.encode(v))),
        DType::Float8E8M0Fnu => out.extend(values.iter().map(|&v| narrow_float::encode_e8m0(v))),
        DType::Float4E2M1FnX2 => out.extend(values.chunks(2).map(|pair| {
            let high = pair.get(1).copied().unwrap_or(0.0);
            narrow_float::encode_e2m1(pair[0]) | narrow_float::encode_e2m1(high) << 4
        })),
        DType::Int64 => values.iter().for_each(|&v| out.extend((v as i64).to_le_bytes())),
        DType::Int32 => values.iter().for_each(|&v| out.extend((v as i32).to_le_bytes())),
        DType::Int16 => values.iter().for_each(|&v| out.extend((v as i16).to_le_bytes())),
        DType::Int8 => values.iter().for_each(|&v| out.extend((v as i8).to_le_bytes())),
        DType::UInt64 => values.iter().for_each(|&v| out.extend((v as u64).to_le_bytes())),
        DType::UInt32 => values.iter().for_each(|&v| out.extend((v as u32).to_le_bytes())),
        DType::UInt16 => values.iter().for_each(|&v| out.extend((v as u16).to_le_bytes())),
        DType::UInt8 => out.extend(values.iter().map(|&v| v as u8)),
        DType::Bool => out.extend(values.iter().map(|&v| u8::from(v != 0.0))),
        DType::Complex32
        | DType::Complex64
        | DType::Complex128
        | DType::QInt8
        | DType::QUInt8
        | DType::QInt32 => {
            return Err(ElementError::Dtype { dtype, wanted: "rounded real numbers" });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::layout::Layout;
    use crate::tensor::Flags;

    const FLOATS: [DType; 9] = [
        DType::Float64,
        DType::Float32,
        DType::Float16,
        DType::BFloat16,
        DType::Float8E4M3Fn,
        DType::Float8E5M2,
        DType::Float8E4M3FnUz,
        DType::Float8E5M2FnUz,
        DType::Float4E2M1FnX2,
    ];

    fn strided(
        dtype: DType,
        shape: &[usize],
        strides: &[usize],
        offset: usize,
        storage: &[f32],
    ) -> TensorBuf {
        let whole = TensorBuf::from_f32(dtype, &[storage.len()], storage).unwrap();
        whole.with_layout(Layout::new(shape, strides, offset).unwrap()).unwrap()
    }

    proptest! {
        /// Values that every float dtype holds exactly, so that nothing but the order can go wrong.
        #[test]
        fn elements_come_out_in_row_major_order_whatever_the_strides(
            dims in prop::collection::vec((0usize..4, 0usize..4), 0..4),
            offset in 0usize..4,
            dtype in prop::sample::select(&FLOATS[..8]),
        ) {
            let (shape, strides): (Vec<_>, Vec<_>) = dims.into_iter().unzip();
            let layout = Layout::new(&shape, &strides, offset).unwrap();
            let storage: Vec<f32> = (0..layout.end()).map(|i| (i % 7) as f32).collect();
            let tensor = strided(dtype, &shape, &strides, offset, &storage);
            let expected: Vec<f32> = layout
                .runs()
                .flat_map(|run| (0..run.len).map(move |i| ((run.start + i * run.stride) % 7) as f32))
                .collect();
            prop_assert_eq!(tensor.to_f32().unwrap(), expected.clone());
            let wide: Vec<f64> = expected.into_iter().map(f64::from).collect();
            prop_assert_eq!(tensor.to_f64().unwrap(), wide);
        }

        #[test]
        fn halves_round_as_the_half_crate_rounds(values in prop::collection::vec(any::<f32>(), 1..600)) {
            let shape = [values.len()];
            let f16s = TensorBuf::from_f32(DType::Float16, &shape, &values).unwrap().to_f32().unwrap();
            let bf16s = TensorBuf::from_f32(DType::BFloat16, &shape, &values).unwrap().to_f32().unwrap();
            for (place, value) in values.iter().enumerate() {
                prop_assert_eq!(f16s[place].to_bits(), f16::from_f32(*value).to_f32().to_bits());
                prop_assert_eq!(bf16s[place].to_bits(), bf16::from_f32(*value).to_f32().to_bits());
            }
        }
    }

    #[test]
    fn writing_keeps_the_strides_and_what_lies_between() {
        let mut tensor = strided(DType::Float16, &[2, 2], &[1, 3], 1, &[9.0; 6]);
        let shared = tensor.clone();
        tensor.write_f32(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        let whole = tensor.with_layout(Layout::contiguous(&[6]).unwrap()).unwrap();
        assert_eq!(whole.to_f32().unwrap(), [9.0, 1.0, 3.0, 9.0, 2.0, 4.0]);
        assert_eq!(shared.to_f32().unwrap(), [9.0; 4], "other tensors keep the old bytes");
        let error = tensor.write_f32(&[1.0]).unwrap_err();
        assert_eq!(error, ElementError::Count { values: 1, numel: 4 });
    }

    #[test]
    fn integers_are_read_whole() {
        let bytes = [i64::MIN, -1, i64::MAX].map(i64::to_le_bytes).concat();
        let tensor = TensorBuf::from_elements(DType::Int64, &[3], bytes.clone()).unwrap();
        assert_eq!(tensor.to_i64().unwrap(), [i64::MIN, -1, i64::MAX]);
        let tensor = TensorBuf::from_elements(DType::UInt64, &[3], bytes).unwrap();
        assert_eq!(tensor.to_i64().unwrap(), [i64::MAX, i64::MAX, i64::MAX]);
        let floats = TensorBuf::from_f32(DType::Float32, &[1], &[1.0]).unwrap();
        assert!(matches!(floats.to_i64(), Err(ElementError::Dtype { .. })));
    }

    #[test]
    fn packed_codes_give_two_values_the_low_nibble_first() {
        let tensor = TensorBuf::from_elements(DType::Float4E2M1FnX2, &[2], vec![0x21, 0xf0]).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), [0.5, 1.0, 0.0, -6.0]);
        let again = TensorBuf::from_f32(DType::Float4E2M1FnX2, &[2], &[0.5, 1.0, 0.0, -6.0]).unwrap();
        assert_eq!(again.storage(), [0x21, 0xf0]);
    }

    #[test]
    fn the_negative_mark_is_applied() {
        let tensor = TensorBuf::from_f32(DType::Float64, &[1], &[2.0]).unwrap();
        let tensor = tensor.with_flags(Flags { neg: true, ..Flags::default() });
        assert_eq!((tensor.to_f32().unwrap(), tensor.to_f64().unwrap()), (vec![-2.0], vec![-2.0]));
    }

    #[test]
    fn a_tensor_expanded_to_petabytes_is_not_copied_out() {
        let layout = Layout::new(&[1 << 50], &[0], 0).unwrap();
        let tensor = TensorBuf::new(DType::Float32, layout, Bytes::from(vec![0; 4])).unwrap();
        assert_eq!(tensor.to_f32(), Err(ElementError::TooLarge { numel: 1 << 50, stored: 1 }));
    }

    #[test]
    fn a_tensor_may_be_expanded_to_64_mib_of_f32_or_be_as_large_as_its_storage() {
        const LIMIT: usize = (64 << 20) / size_of::<f32>();
        assert_eq!(check_expansion(LIMIT, 1), Ok(()));
        let error = ElementError::TooLarge { numel: LIMIT + 1, stored: 1 };
        assert_eq!(check_expansion(LIMIT + 1, 1), Err(error));
        assert_eq!(check_expansion(LIMIT + 1, LIMIT + 1), Ok(()));
    }
}
