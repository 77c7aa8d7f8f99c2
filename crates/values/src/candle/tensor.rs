//! Tensors and variables.

use callbox_core::{
    DType, Flags, Layout, LayoutError, LiveValue, OwnedValue, StorageId, TensorBuf, TensorView,
};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Storage, StorageRef, Tensor, Var};

use super::names::{from_candle, recorded_device};
use super::strided;
use crate::from_value::{FromValue, FromValueError};
use crate::python_class::opaque;
use crate::tensor::tensor_or_text;
use crate::to_value::ToValue;

/// Borrows the tensor under its storage's read lock. One that cannot be brought to the host, or whose elements are
/// of less than a byte, is recorded as a text.
impl ToValue for Tensor {
    fn to_value(&self) -> LiveValue<'_> {
        let (storage, layout) = self.storage_and_layout();
        let Some(dtype) = from_candle(self.dtype()) else {
            return described(self, "a dtype without a name in torch");
        };
        let bytes = match Readable::of(storage) {
            Ok(bytes) => bytes,
            Err(error) => return described(self, &error.to_string()),
        };
        let layout = Layout::new(layout.dims(), layout.stride(), layout.start_offset());
        let view = layout.and_then(|layout| bytes.view(dtype, layout));
        let flags = Flags { requires_grad: self.is_variable(), ..Flags::default() };
        let device = recorded_device(self.device());
        tensor_or_text("Tensor", view.map(|view| TensorView { flags, device, ..view }))
    }
}

/// Recorded as its tensor, gradients wanted.
impl ToValue for Var {
    fn to_value(&self) -> LiveValue<'_> {
        self.as_tensor().to_value()
    }
}

fn described<'a>(tensor: &Tensor, reason: &str) -> LiveValue<'a> {
    let dtype = tensor.dtype().as_str();
    opaque("Tensor", format!("<{:?} of {dtype}, not recordable: {reason}>", tensor.dims()))
}

/// A storage whose bytes the host can read.
enum Readable<'a> {
    Locked(StorageRef<'a>),
    Copied(CpuStorage),
}

impl<'a> Readable<'a> {
    fn of(storage: StorageRef<'a>) -> candle_core::Result<Readable<'a>> {
        match &*storage {
            Storage::Cpu(_) => Ok(Readable::Locked(storage)),
            Storage::Cuda(device) => device.to_cpu_storage().map(Readable::Copied),
            Storage::Metal(device) => device.to_cpu_storage().map(Readable::Copied),
        }
    }

    fn view(self, dtype: DType, layout: Layout) -> Result<TensorView<'a>, LayoutError> {
        let id = StorageId::of(self.as_ref());
        // Who writes to the storage waits for the guard; a copy is ours alone.
        TensorView::frozen(dtype, layout, id, self)
    }
}

impl AsRef<[u8]> for Readable<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Readable::Copied(storage) => bytes_of(storage),
            Readable::Locked(storage) => match &**storage {
                Storage::Cpu(storage) => bytes_of(storage),
                Storage::Cuda(_) | Storage::Metal(_) => &[],
            },
        }
    }
}

fn bytes_of(storage: &CpuStorage) -> &[u8] {
    match storage {
        CpuStorage::U8(elements) => elements,
        CpuStorage::U32(elements) => bytemuck::cast_slice(elements),
        CpuStorage::I16(elements) => bytemuck::cast_slice(elements),
        CpuStorage::I32(elements) => bytemuck::cast_slice(elements),
        CpuStorage::I64(elements) => bytemuck::cast_slice(elements),
        CpuStorage::BF16(elements) => bytemuck::cast_slice(elements),
        CpuStorage::F16(elements) => bytemuck::cast_slice(elements),
        CpuStorage::F32(elements) => bytemuck::cast_slice(elements),
        CpuStorage::F64(elements) => bytemuck::cast_slice(elements),
        CpuStorage::F8E4M3(elements) => bytemuck::cast_slice::<float8::F8E4M3, u8>(elements),
        CpuStorage::F6E2M3(bytes)
        | CpuStorage::F6E3M2(bytes)
        | CpuStorage::F4(bytes)
        | CpuStorage::F8E8M0(bytes) => bytes,
    }
}

/// Builds the tensor in host memory, a variable where gradients were wanted. Strides are kept where candle can
/// make them: of a tensor with its dimensions in any order, of a slice, of an expanded one. Others become
/// row-major.
impl FromValue for Tensor {
    fn from_value(value: OwnedValue) -> Result<Tensor, FromValueError> {
        let recorded = TensorBuf::from_value(value)?;
        let tensor = strided::build(&recorded)?;
        if recorded.flags().requires_grad {
            return Var::from_tensor(&tensor).map(Var::into_inner).map_err(refused);
        }
        Ok(tensor)
    }
}

impl FromValue for Var {
    fn from_value(value: OwnedValue) -> Result<Var, FromValueError> {
        Var::from_tensor(&Tensor::from_value(value)?).map_err(refused)
    }
}

pub(super) fn refused(error: candle_core::Error) -> FromValueError {
    FromValueError::Library(Box::new(error))
}
