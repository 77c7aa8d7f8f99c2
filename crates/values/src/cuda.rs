//! Tensors in the memory of CUDA devices.

use callbox_core::{LiveValue, Value};
use callbox_kernels_cuda::DeviceTensor;

use crate::to_value::ToValue;

/// Recorded as a tensor on its device. Nothing is copied before the recorder reads it, piece by piece.
impl ToValue for DeviceTensor {
    fn to_value(&self) -> LiveValue<'_> {
        Value::Tensor(self.as_view())
    }
}
