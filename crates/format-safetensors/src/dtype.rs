//! The dtypes of the two sides, and the one shape on which they differ.

use callbox_core::DType;
use safetensors::Dtype;

/// Returns the safetensors dtype; `None` where the format has none.
pub(crate) fn to_safetensors(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::Float64 => Dtype::F64,
        DType::Float32 => Dtype::F32,
        DType::Float16 => Dtype::F16,
        DType::BFloat16 => Dtype::BF16,
        DType::Float8E4M3Fn => Dtype::F8_E4M3,
        DType::Float8E5M2 => Dtype::F8_E5M2,
        DType::Float8E4M3FnUz => Dtype::F8_E4M3FNUZ,
        DType::Float8E5M2FnUz => Dtype::F8_E5M2FNUZ,
        DType::Float8E8M0Fnu => Dtype::F8_E8M0,
        DType::Float4E2M1FnX2 => Dtype::F4,
        DType::Int64 => Dtype::I64,
        DType::Int32 => Dtype::I32,
        DType::Int16 => Dtype::I16,
        DType::Int8 => Dtype::I8,
        DType::UInt64 => Dtype::U64,
        DType::UInt32 => Dtype::U32,
        DType::UInt16 => Dtype::U16,
        DType::UInt8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
        DType::Complex64 => Dtype::C64,
        DType::Complex32 | DType::Complex128 | DType::QInt8 | DType::QUInt8 | DType::QInt32 => return None,
    })
}

/// Returns the dtype of torch; `None` where it has none (six-bit floats).
pub(crate) fn from_safetensors(dtype: Dtype) -> Option<DType> {
    DType::all().find(|ours| to_safetensors(*ours) == Some(dtype))
}

/// Returns how many times larger the last size is in the file than in torch: safetensors counts four-bit
/// floats, torch counts the bytes that hold two of them.
pub(crate) fn last_size_factor(dtype: DType) -> usize {
    if dtype == DType::Float4E2M1FnX2 { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_on_sizes_and_the_way_back() {
        for dtype in DType::all() {
            if let Some(there) = to_safetensors(dtype) {
                assert_eq!(from_safetensors(there), Some(dtype));
                let bits = there.bitsize() * last_size_factor(dtype);
                assert_eq!(bits, 8 * dtype.item_size(), "{dtype}");
            }
        }
    }
}
