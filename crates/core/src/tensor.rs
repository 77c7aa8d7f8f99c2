//! Tensors: owned ones that came from a dump, borrowed ones on their way to a file, and descriptions.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::device::Device;
use crate::dtype::{DType, DTypeKind};
use crate::layout::{self, Layout, LayoutError};
use crate::ports::DeviceMemory;

/// What a record says of a tensor without its elements. Sizes and strides count elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMeta {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Strides, outermost first; the original ones, also where the file holds a contiguous copy.
    pub strides: Vec<usize>,
    /// Element type as the record spells it: `torch.float16`. A newer torch may name one that we do not know.
    pub dtype: String,
    /// Device as the record spells it: `cuda:0`.
    pub device: String,
}

impl TensorMeta {
    /// Tells whether the elements lie in row-major order without gaps, as torch's `is_contiguous` says it.
    pub fn is_contiguous(&self) -> bool {
        layout::is_contiguous(&self.shape, &self.strides)
    }
}

/// Tells storages apart: two tensors with the same id share their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorageId(usize);

impl StorageId {
    /// Wraps a number that is unique among the storages alive at the same time (an address, say).
    pub const fn new(id: usize) -> StorageId {
        StorageId(id)
    }

    /// Tells a storage from others by its address.
    pub fn of(bytes: &[u8]) -> StorageId {
        StorageId(bytes.as_ptr().addr())
    }
}

/// A tensor that owns, or shares, the bytes of its storage.
///
/// The layout was checked against the storage, so every reading method is free of bounds errors. Cloning is
/// cheap: the bytes are shared.
#[derive(Clone)]
pub struct TensorBuf {
    dtype: DType,
    // Shared, so that a value is small whether it is a tensor or a number: a list may hold a million of them.
    layout: Arc<Layout>,
    storage: Bytes,
    flags: Flags,
    device: Device,
}

/// Marks that torch keeps beside the elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Gradients are wanted.
    pub requires_grad: bool,
    /// The stored bytes are the conjugates of the logical elements.
    pub conj: bool,
    /// The stored bytes are the negatives of the logical elements.
    pub neg: bool,
}

impl Flags {
    /// Names the mark that says nothing of elements of this dtype, if one is set: a conjugate that is not
    /// complex, or a negative without a sign bit.
    ///
    /// torch makes negative views of the imaginary parts of conjugates alone, so these are real floats.
    pub fn meaningless_mark(self, dtype: DType) -> Option<&'static str> {
        if self.conj && dtype.kind() != DTypeKind::Complex {
            return Some("a conjugate");
        }
        let has_sign_bit = match dtype.kind() {
            // The scale type has an exponent and nothing else.
            DTypeKind::Float => dtype != DType::Float8E8M0Fnu,
            DTypeKind::Complex => true,
            DTypeKind::PackedFloat | DTypeKind::Integer | DTypeKind::Bool | DTypeKind::Quantized => false,
        };
        (self.neg && !has_sign_bit).then_some("a negative")
    }
}

impl TensorBuf {
    /// Puts a checked layout over a storage; fails if the layout reaches past its end.
    pub fn new(dtype: DType, layout: Layout, storage: Bytes) -> Result<TensorBuf, LayoutError> {
        layout.check_storage(storage.len() / dtype.item_size())?;
        Ok(TensorBuf {
            dtype,
            layout: Arc::new(layout),
            storage,
            flags: Flags::default(),
            device: Device::Cpu,
        })
    }

    /// Builds a row-major tensor from its elements, little endian.
    pub fn from_elements(dtype: DType, shape: &[usize], elements: Vec<u8>) -> Result<TensorBuf, LayoutError> {
        TensorBuf::new(dtype, Layout::contiguous(shape)?, Bytes::from(elements))
    }

    /// Sets the marks that torch keeps beside the elements.
    #[must_use]
    pub fn with_flags(mut self, flags: Flags) -> TensorBuf {
        self.flags = flags;
        self
    }

    /// Sets the device that the tensor was recorded on.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> TensorBuf {
        self.device = device;
        self
    }

    /// Returns the element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns shape, strides and offset.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the sizes in elements, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// Returns the number of logical elements.
    pub fn numel(&self) -> usize {
        self.layout.numel()
    }

    /// Returns the bytes of the whole storage, which other tensors may share.
    pub fn storage(&self) -> &[u8] {
        &self.storage
    }

    /// Returns what tells this storage from others.
    pub fn storage_id(&self) -> StorageId {
        StorageId::of(&self.storage)
    }

    /// Returns the marks that torch keeps beside the elements.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Returns the device that the tensor was recorded on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Tells whether the stored bytes are the negatives of the logical elements.
    pub(crate) fn is_neg(&self) -> bool {
        self.flags.neg
    }

    /// Borrows the tensor for writing to a file.
    pub fn as_view(&self) -> TensorView<'_> {
        TensorView {
            dtype: self.dtype,
            layout: Layout::clone(&self.layout),
            storage: StorageView { id: self.storage_id(), bytes: StorageBytes::host(&self.storage) },
            flags: self.flags,
            device: self.device,
        }
    }

    /// Describes the tensor as a record does.
    pub fn to_meta(&self) -> TensorMeta {
        self.as_view().to_meta()
    }

    /// Puts another layout over the same storage: a transpose, a slice, a reshape.
    pub fn with_layout(&self, layout: Layout) -> Result<TensorBuf, LayoutError> {
        layout.check_storage(self.storage.len() / self.dtype.item_size())?;
        Ok(TensorBuf { layout: Arc::new(layout), ..self.clone() })
    }

    /// Lays the logical elements out anew with other strides, in a storage of their own.
    ///
    /// `None` where that changes nothing, or where the strides are not those of a dense tensor
    /// ([`Layout::is_dense`]): expanded and sliced ones would need bytes that are not there.
    pub fn relaid(&self, strides: &[usize]) -> Option<TensorBuf> {
        let layout = Layout::new(self.shape(), strides, 0).ok()?;
        if strides == self.layout.strides() || !layout.is_dense() || self.check_expansion().is_err() {
            return None;
        }
        let storage = vec![0; self.numel() * self.dtype.item_size()];
        let mut tensor = TensorBuf::new(self.dtype, layout, Bytes::from(storage)).ok()?;
        tensor.write_elements(&self.to_bytes()).ok()?;
        let flags = Flags { conj: false, neg: false, ..self.flags };
        Some(tensor.with_flags(flags).with_device(self.device))
    }

    pub(crate) fn replace_storage(&mut self, storage: Bytes) {
        debug_assert_eq!(storage.len(), self.storage.len(), "the layout was checked against this length");
        self.storage = storage;
        // The new bytes are the logical elements.
        self.flags = Flags { conj: false, neg: false, ..self.flags };
    }
}

/// Shows what the tensor is, not its bytes.
impl fmt::Debug for TensorBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorBuf")
            .field("dtype", &self.dtype)
            .field("layout", &self.layout)
            .field("storage_bytes", &self.storage.len())
            .field("flags", &self.flags)
            .field("device", &self.device)
            .finish()
    }
}

/// A tensor borrowed from its owner for the time of a call.
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    /// Element type.
    pub dtype: DType,
    /// Shape, strides and offset over the storage.
    pub layout: Layout,
    /// The storage, which other views may share.
    pub storage: StorageView<'a>,
    /// Marks that torch keeps beside the elements.
    pub flags: Flags,
    /// Where the tensor lives.
    pub device: Device,
}

impl<'a> TensorView<'a> {
    /// Puts a checked layout over a storage in host memory; fails if the layout reaches past its end.
    ///
    /// The storage is told from others by its address.
    ///
    /// ```
    /// use callbox_core::{DType, Layout, TensorView};
    ///
    /// let halves = [0x00, 0x3c, 0x00, 0x40]; // 1.0 and 2.0
    /// let view = TensorView::new(DType::Float16, Layout::contiguous(&[2])?, &halves)?;
    /// assert_eq!(view.byte_len(), 4);
    /// # Ok::<(), callbox_core::layout::LayoutError>(())
    /// ```
    pub fn new(dtype: DType, layout: Layout, storage: &'a [u8]) -> Result<TensorView<'a>, LayoutError> {
        let id = StorageId::of(storage);
        TensorView::over(dtype, layout, StorageView { id, bytes: StorageBytes::host(storage) })
    }

    /// Puts a checked layout over bytes that a holder keeps readable, and that others may write meanwhile: memory
    /// shared with another process, cells, a buffer behind a pointer.
    ///
    /// They are read twice when they are dumped, and a dump whose tensor changed in between says so. Where the
    /// holder keeps everybody from writing, [`TensorView::frozen`] saves the second look.
    pub fn held(
        dtype: DType,
        layout: Layout,
        id: StorageId,
        holder: impl AsRef<[u8]> + 'a,
    ) -> Result<TensorView<'a>, LayoutError> {
        TensorView::over(dtype, layout, StorageView { id, bytes: StorageBytes::held(holder) })
    }

    /// Puts a checked layout over bytes that nobody writes while the holder is there: it is the guard of their lock,
    /// or a copy.
    ///
    /// A copy should have an id of its own ([`StorageId::of`] its bytes).
    pub fn frozen(
        dtype: DType,
        layout: Layout,
        id: StorageId,
        holder: impl AsRef<[u8]> + 'a,
    ) -> Result<TensorView<'a>, LayoutError> {
        TensorView::over(dtype, layout, StorageView { id, bytes: StorageBytes::frozen(holder) })
    }

    fn over(dtype: DType, layout: Layout, storage: StorageView<'a>) -> Result<TensorView<'a>, LayoutError> {
        layout.check_storage(storage.bytes.len() / dtype.item_size())?;
        Ok(TensorView { dtype, layout, storage, flags: Flags::default(), device: Device::Cpu })
    }

    /// Returns the bytes that the logical elements take: their number times the size of one.
    pub fn byte_len(&self) -> u64 {
        (self.layout.numel() as u64).saturating_mul(self.dtype.item_size() as u64)
    }

    /// Describes the tensor as a record does.
    pub fn to_meta(&self) -> TensorMeta {
        TensorMeta {
            shape: self.layout.shape().to_vec(),
            strides: self.layout.strides().to_vec(),
            dtype: self.dtype.to_string(),
            device: self.device.to_string(),
        }
    }
}

/// A storage borrowed from its owner.
#[derive(Clone, Debug)]
pub struct StorageView<'a> {
    /// Tells storages apart.
    pub id: StorageId,
    /// The bytes.
    pub bytes: StorageBytes<'a>,
}

/// Where the bytes of a storage are.
#[derive(Clone)]
pub enum StorageBytes<'a> {
    /// In host memory.
    Host(HostBytes<'a>),
    /// In device memory, readable in pieces.
    Device(&'a dyn DeviceMemory),
}

/// Bytes in host memory: a slice, or something that keeps one readable for as long as the view is there.
#[derive(Clone)]
pub enum HostBytes<'a> {
    /// A slice of the owner's: while it is borrowed it cannot change.
    Borrowed(&'a [u8]),
    /// What a lock guards, or a copy made for the recording: while it is held nobody writes it.
    Frozen(Rc<dyn AsRef<[u8]> + 'a>),
    /// What is readable for as long as it is held, and may change meanwhile.
    Held(Rc<dyn AsRef<[u8]> + 'a>),
}

impl Deref for HostBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            HostBytes::Borrowed(bytes) => bytes,
            HostBytes::Frozen(holder) | HostBytes::Held(holder) => (**holder).as_ref(),
        }
    }
}

impl<'a> StorageBytes<'a> {
    /// Borrows host memory.
    pub fn host(bytes: &'a [u8]) -> StorageBytes<'a> {
        StorageBytes::Host(HostBytes::Borrowed(bytes))
    }

    /// Keeps a holder of host memory that nobody writes meanwhile: the guard of a lock, or a copy.
    pub fn frozen(holder: impl AsRef<[u8]> + 'a) -> StorageBytes<'a> {
        StorageBytes::Host(HostBytes::Frozen(Rc::new(holder)))
    }

    /// Keeps a holder of host memory that others may write meanwhile.
    pub fn held(holder: impl AsRef<[u8]> + 'a) -> StorageBytes<'a> {
        StorageBytes::Host(HostBytes::Held(Rc::new(holder)))
    }

    /// Returns the size in bytes.
    pub fn len(&self) -> usize {
        match self {
            StorageBytes::Host(bytes) => bytes.len(),
            StorageBytes::Device(memory) => memory.byte_len(),
        }
    }

    /// Tells whether the storage has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether two looks at the bytes may see different ones.
    ///
    /// Of device memory they do not: it is read when the owner's stream has finished.
    pub fn may_change(&self) -> bool {
        match self {
            StorageBytes::Host(HostBytes::Held(_)) => true,
            StorageBytes::Host(HostBytes::Borrowed(_) | HostBytes::Frozen(_)) => false,
            StorageBytes::Device(_) => false,
        }
    }

    /// Tells whether the owner's stream is recording a graph: then nothing may be read.
    pub fn is_capturing(&self) -> bool {
        match self {
            StorageBytes::Host(_) => false,
            StorageBytes::Device(memory) => memory.capturing(),
        }
    }
}

/// Shows where the bytes are and how many, not the bytes.
impl fmt::Debug for StorageBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageBytes::Host(bytes) => write!(f, "Host({} bytes)", bytes.len()),
            StorageBytes::Device(memory) => write!(f, "Device({memory:?})"),
        }
    }
}

/// Shows how many bytes there are, not the bytes.
impl fmt::Debug for HostBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relaying_changes_the_strides_and_nothing_else() {
        let tensor = TensorBuf::from_f32(DType::Float32, &[2, 3], &[0., 1., 2., 3., 4., 5.]).unwrap();
        let columns = tensor.relaid(&[1, 2]).unwrap();
        assert_eq!(columns.layout().strides(), [1, 2]);
        assert_eq!(columns.to_f32().unwrap(), tensor.to_f32().unwrap());
        for strides in [[3, 1], [0, 1], [6, 1]] {
            assert!(tensor.relaid(&strides).is_none(), "{strides:?}");
        }
    }
}
