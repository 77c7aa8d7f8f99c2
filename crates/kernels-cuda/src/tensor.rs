//! Tensors in device memory.

use std::sync::Arc;

use callbox_core::{Bytes, DType, Device, Flags, Layout, StorageBytes, StorageView, TensorBuf, TensorView};
use cudarc::driver::CudaStream;

use crate::device_memory::Elements;
use crate::element::Element;
use crate::error::CudaError;
use crate::guards::{Slice, SliceMut};
use crate::storage::Storage;

/// A tensor in device memory: dtype, shape, strides and offset over a storage that other tensors may share.
///
/// Cloning it gives another tensor over the same memory, as torch's views are. With the feature `cuda` of the crate
/// `callbox` it is an argument or a result of recorded functions like any other tensor.
///
/// ```no_run
/// use callbox_core::Layout;
/// use callbox_kernels_cuda::CudaDevice;
///
/// let device = CudaDevice::open(0)?;
/// let logits = device.default_stream().alloc_zeros::<f32>(12).expect("48 bytes are free");
/// let logits = device.tensor(logits, Layout::contiguous(&[3, 4])?)?;
/// let transposed = logits.with_layout(Layout::new(&[4, 3], &[1, 4], 0)?)?;
/// assert_eq!(transposed.to_host()?.to_f32().map(|elements| elements.len()), Ok(12));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DeviceTensor {
    layout: Layout,
    elements: Elements,
}

impl DeviceTensor {
    pub(crate) fn new(dtype: DType, layout: Layout, storage: Storage) -> Result<DeviceTensor, CudaError> {
        DeviceTensor::of(Elements { dtype, storage }, layout)
    }

    fn of(elements: Elements, layout: Layout) -> Result<DeviceTensor, CudaError> {
        layout.check_storage(elements.storage.byte_len() / elements.dtype.item_size())?;
        Ok(DeviceTensor { layout, elements })
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        self.elements.dtype
    }

    /// Returns shape, strides and offset; they count elements.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the sizes in elements, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// Returns the device, `cuda:N`.
    pub fn device(&self) -> Device {
        self.elements.storage.device().device()
    }

    /// Returns the owner's stream: the memory is read when that has finished.
    pub fn stream(&self) -> &Arc<CudaStream> {
        self.elements.storage.stream()
    }

    /// Puts another layout over the same storage: a transpose, a slice, a reshape.
    ///
    /// Fails with [`CudaError::Layout`] if it reaches past the end.
    pub fn with_layout(&self, layout: Layout) -> Result<DeviceTensor, CudaError> {
        DeviceTensor::of(self.elements.clone(), layout)
    }

    /// Takes the bytes of the same storage for elements of another dtype: those of cudarc's slices of `u8` that are none.
    ///
    /// Fails with [`CudaError::Layout`] if the layout, in elements of that dtype, reaches past the end.
    pub fn with_dtype(&self, dtype: DType, layout: Layout) -> Result<DeviceTensor, CudaError> {
        DeviceTensor::of(Elements { dtype, storage: self.elements.storage.clone() }, layout)
    }

    /// Says that from now on a stream works with the memory that does not own it: it is read when both have finished, and is
    /// part of a graph while either records one. Without it, a call that a stream records with memory of other streams alone
    /// looks like any other call.
    ///
    /// It holds for all tensors over the memory, one of which has to be kept until the stream's capture has ended. Fails with [`CudaError::OtherContext`] if the stream is of another context.
    pub fn use_on(&self, stream: &Arc<CudaStream>) -> Result<(), CudaError> {
        self.elements.storage.device().check_context(stream.context())?;
        self.elements.storage.use_on(stream);
        Ok(())
    }

    /// Locks the slice of the whole storage for reading. The tensor's first element is at [`Layout::offset`].
    ///
    /// `None` if the storage was made of other elements.
    pub fn slice<T: Element>(&self) -> Option<Slice<'_, T>> {
        Slice::new(self.elements.storage.owner())
    }

    /// Locks the slice of the whole storage for writing; waits for whoever reads it just now. Through other tensors over
    /// the storage the changes are seen too. The tensor's first element is at [`Layout::offset`].
    ///
    /// `None` if the storage was made of other elements.
    pub fn slice_mut<T: Element>(&mut self) -> Option<SliceMut<'_, T>> {
        SliceMut::new(self.elements.storage.owner_mut())
    }

    /// Borrows the tensor for the recorder. Nothing is copied before somebody reads it.
    pub fn as_view(&self) -> TensorView<'_> {
        TensorView {
            dtype: self.elements.dtype,
            layout: self.layout.clone(),
            storage: StorageView {
                id: self.elements.storage.id(),
                bytes: StorageBytes::Device(&self.elements),
            },
            flags: Flags::default(),
            device: self.device(),
        }
    }

    /// Copies the whole storage to the host when the owner's stream has finished; dtype, layout and device stay what they
    /// are.
    ///
    /// Fails with [`CudaError::Capturing`] while that stream records a graph, and as the driver does.
    pub fn to_host(&self) -> Result<TensorBuf, CudaError> {
        let mut bytes = vec![0; self.elements.storage.byte_len()];
        self.elements.storage.read_bytes(0, &mut bytes)?;
        let tensor = TensorBuf::new(self.elements.dtype, self.layout.clone(), Bytes::from(bytes))?;
        Ok(tensor.with_device(self.device()))
    }
}
