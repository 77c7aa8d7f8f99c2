//! Which of cudarc's element types is which dtype.

use callbox_core::DType;
use cudarc::driver::DeviceRepr;
use half::{bf16, f16};

mod sealed {
    /// Keeps others from saying that their type is a dtype of ours: memory is reinterpreted by it.
    pub trait Sealed {}
}

/// An element type of a `CudaSlice` that is a dtype.
///
/// What is missing has no Rust type of cudarc's that any bits are valid for: bool, the packed, complex and quantised
/// dtypes. Their bytes are a `CudaSlice<u8>`, and [`DeviceTensor::with_dtype`](crate::DeviceTensor::with_dtype) names them.
pub trait Element: sealed::Sealed + DeviceRepr + Send + Sync + 'static {
    /// The dtype.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($element:ty => $dtype:ident),+ $(,)?) => {
        $(
            impl sealed::Sealed for $element {}
            impl Element for $element {
                const DTYPE: DType = DType::$dtype;
            }
        )+
    };
}

elements! {
    f64 => Float64,
    f32 => Float32,
    f16 => Float16,
    bf16 => BFloat16,
    float8::F8E4M3 => Float8E4M3Fn,
    float8::F8E5M2 => Float8E5M2,
    i64 => Int64,
    i32 => Int32,
    i16 => Int16,
    i8 => Int8,
    u64 => UInt64,
    u32 => UInt32,
    u16 => UInt16,
    u8 => UInt8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_as_large_as_its_dtype_says() {
        fn check<T: Element>() {
            assert_eq!(size_of::<T>(), T::DTYPE.item_size(), "{}", T::DTYPE);
        }
        check::<f64>();
        check::<f32>();
        check::<f16>();
        check::<bf16>();
        check::<float8::F8E4M3>();
        check::<float8::F8E5M2>();
        check::<i64>();
        check::<i32>();
        check::<i16>();
        check::<i8>();
        check::<u64>();
        check::<u32>();
        check::<u16>();
        check::<u8>();
    }
}
