//! Random dtypes, layouts and tensors.

use callbox_core::{Bytes, DType, Layout, TensorBuf};
use proptest::prelude::*;

/// Any dtype.
pub fn dtype() -> impl Strategy<Value = DType> {
    prop::sample::select(DType::all().collect::<Vec<_>>())
}

/// A layout of up to four dimensions with small sizes, zero among them, and any small strides and offset:
/// transposed, overlapping, expanded.
pub fn layout() -> impl Strategy<Value = Layout> {
    (prop::collection::vec((0usize..4, 0usize..7), 0..5), 0usize..5).prop_map(|(dims, offset)| {
        let (shape, strides): (Vec<_>, Vec<_>) = dims.into_iter().unzip();
        Layout::new(&shape, &strides, offset).expect("small sizes do not overflow")
    })
}

/// A tensor of random bytes; bools are zero or one.
pub fn tensor() -> impl Strategy<Value = TensorBuf> {
    (dtype(), layout(), 0usize..4).prop_flat_map(|(dtype, layout, slack)| {
        let len = (layout.end() + slack) * dtype.item_size();
        let byte = if dtype == DType::Bool { (0u8..2).boxed() } else { any::<u8>().boxed() };
        prop::collection::vec(byte, len).prop_map(move |bytes| {
            TensorBuf::new(dtype, layout.clone(), Bytes::from(bytes)).expect("the storage reaches far enough")
        })
    })
}
