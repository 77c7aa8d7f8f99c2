//! Who owns device memory: a slice of cudarc's, of whatever element type.
#![expect(unsafe_code, reason = "device memory is allocated without contents, and looked at as bytes")]

use std::any::Any;
use std::sync::Arc;

use callbox_core::DType;
use cudarc::driver::{CudaSlice, CudaStream, CudaView, DriverError};
use half::{bf16, f16};

use crate::device::CudaDevice;
use crate::element::Element;

/// A slice whose element type is not known any more.
pub(crate) trait Owner: Any + Send + Sync {
    /// Looks at the memory as bytes.
    fn bytes(&self) -> CudaView<'_, u8>;
}

impl<T: Element> Owner for CudaSlice<T> {
    fn bytes(&self) -> CudaView<'_, u8> {
        // SAFETY: every element is bytes, and any bytes are a `u8`.
        let bytes = unsafe { self.transmute(self.num_bytes()) };
        bytes.expect("a slice has the bytes that it says")
    }
}

/// An owner that is given to its device when nobody needs it any more.
pub(crate) struct Kept {
    /// `None` only while it is dropped.
    pub(crate) owner: Option<Box<dyn Owner>>,
    pub(crate) device: CudaDevice,
}

const THERE: &str = "it is there until it is dropped";

impl Kept {
    pub(crate) fn owner(&self) -> &dyn Owner {
        self.owner.as_deref().expect(THERE)
    }

    pub(crate) fn owner_mut(&mut self) -> &mut dyn Owner {
        self.owner.as_deref_mut().expect(THERE)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(owner) = self.owner.take() {
            self.device.departed().take(owner);
        }
    }
}

/// Copies bytes to new device memory, whose elements are those of the dtype where cudarc has a type for them.
///
/// They are there when the stream has got to it.
pub(crate) fn upload(
    stream: &Arc<CudaStream>,
    dtype: DType,
    bytes: &[u8],
) -> Result<Box<dyn Owner>, DriverError> {
    match dtype {
        DType::Float64 => upload_as::<f64>(stream, bytes),
        DType::Float32 => upload_as::<f32>(stream, bytes),
        DType::Float16 => upload_as::<f16>(stream, bytes),
        DType::BFloat16 => upload_as::<bf16>(stream, bytes),
        DType::Float8E4M3Fn => upload_as::<float8::F8E4M3>(stream, bytes),
        DType::Float8E5M2 => upload_as::<float8::F8E5M2>(stream, bytes),
        DType::Int64 => upload_as::<i64>(stream, bytes),
        DType::Int32 => upload_as::<i32>(stream, bytes),
        DType::Int16 => upload_as::<i16>(stream, bytes),
        DType::Int8 => upload_as::<i8>(stream, bytes),
        DType::UInt64 => upload_as::<u64>(stream, bytes),
        DType::UInt32 => upload_as::<u32>(stream, bytes),
        DType::UInt16 => upload_as::<u16>(stream, bytes),
        DType::UInt8
        | DType::Bool
        | DType::Float8E4M3FnUz
        | DType::Float8E5M2FnUz
        | DType::Float8E8M0Fnu
        | DType::Float4E2M1FnX2
        | DType::Complex32
        | DType::Complex64
        | DType::Complex128
        | DType::QInt8
        | DType::QUInt8
        | DType::QInt32 => upload_as::<u8>(stream, bytes),
    }
}

fn upload_as<T: Element>(stream: &Arc<CudaStream>, bytes: &[u8]) -> Result<Box<dyn Owner>, DriverError> {
    // The driver allocates no memory without bytes, and a storage need not have whole elements.
    let len = bytes.len().div_ceil(size_of::<T>()).max(1);
    // SAFETY: the bytes are copied in before anybody gets the slice; what is beyond them is in no tensor.
    let mut slice = unsafe { stream.alloc::<T>(len) }?;
    // SAFETY: any bytes are an element of ours.
    let target = unsafe { slice.transmute_mut::<u8>(bytes.len()) };
    let mut target = target.expect("so many bytes were allocated");
    if !bytes.is_empty() {
        stream.memcpy_htod(bytes, &mut target)?;
    }
    Ok(Box::new(slice))
}
