//! Rust types that are elements of a tensor.

use callbox_core::DType;
use half::{bf16, f16};

#[cfg(target_endian = "big")]
compile_error!("tensors are recorded as they lie in memory, and files are little-endian");

/// A Rust type that a tensor's elements can have, with the dtype of the same bits.
///
/// ```
/// use callbox_core::DType;
/// use callbox_values::Element;
///
/// assert_eq!(f32::DTYPE, DType::Float32);
/// ```
pub trait Element: sealed::Plain {
    /// The dtype.
    const DTYPE: DType;
}

/// Sealed: the dtype must fit the bytes.
mod sealed {
    use bytemuck::{CheckedBitPattern, NoUninit};

    pub trait Plain: NoUninit + CheckedBitPattern {}
}

macro_rules! elements {
    ($($element:ty: $dtype:ident;)+) => { $(
        impl sealed::Plain for $element {}

        impl Element for $element {
            const DTYPE: DType = DType::$dtype;
        }
    )+ };
}

elements! {
    f64: Float64;
    f32: Float32;
    f16: Float16;
    bf16: BFloat16;
    i64: Int64;
    i32: Int32;
    i16: Int16;
    i8: Int8;
    u64: UInt64;
    u32: UInt32;
    u16: UInt16;
    u8: UInt8;
    bool: Bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_has_the_size_of_its_dtype() {
        fn check<T: Element>() {
            assert_eq!(size_of::<T>(), T::DTYPE.item_size(), "{}", T::DTYPE);
        }
        check::<f64>();
        check::<f32>();
        check::<f16>();
        check::<bf16>();
        check::<i64>();
        check::<i32>();
        check::<i16>();
        check::<i8>();
        check::<u64>();
        check::<u32>();
        check::<u16>();
        check::<u8>();
        check::<bool>();
    }
}
