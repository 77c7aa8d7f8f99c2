//! Tensors that outlive their call, for a dump that is written later.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::describe::Described;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::chain;
use crate::layout::Layout;
use crate::name::Group;
use crate::ports::DeviceMemory;
use crate::recorder::guarded;
use crate::tensor::{Flags, StorageBytes, StorageId, StorageView, TensorView};

/// The tensors of a captured call.
#[derive(Debug, Default)]
pub(crate) struct HeldCall {
    pub(crate) inputs: Held,
    pub(crate) outputs: Held,
    /// Arguments that the call wrote into.
    pub(crate) written: Held,
}

/// What came of waiting for each storage.
pub(crate) type Waited = HashMap<StorageId, Result<(), String>>;

/// Tensors by their keys. Device memory is held, and shows what it holds when it is read; host memory was copied.
#[derive(Debug, Default)]
pub(crate) struct Held {
    tensors: Vec<(String, HeldTensor)>,
    /// Host memory changed while it was copied.
    is_unstable: bool,
}

#[derive(Debug)]
struct HeldTensor {
    dtype: DType,
    layout: Layout,
    flags: Flags,
    device: Device,
    id: StorageId,
    bytes: HeldBytes,
}

#[derive(Clone)]
enum HeldBytes {
    Host(Arc<Vec<u8>>),
    Device(Arc<dyn DeviceMemory>),
}

/// Shows where the bytes are, not what they are.
impl std::fmt::Debug for HeldBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_storage().fmt(f)
    }
}

impl HeldBytes {
    /// Tells as well whether the bytes changed while they were copied.
    fn of(storage: &StorageBytes<'_>) -> Option<(HeldBytes, bool)> {
        match storage {
            // The application may write it as soon as its call returned.
            StorageBytes::Host(bytes) => {
                let mut copy = Vec::new();
                copy.try_reserve_exact(bytes.len()).ok()?;
                copy.extend_from_slice(bytes);
                let has_changed = storage.may_change() && **bytes != copy[..];
                Some((HeldBytes::Host(Arc::new(copy)), has_changed))
            }
            StorageBytes::Device(memory) => Some((HeldBytes::Device(memory.retain()?), false)),
        }
    }

    /// Waits for the streams of a device's memory; an error tells why it cannot be read.
    fn wait(&self) -> Result<(), String> {
        match self {
            HeldBytes::Host(_) => Ok(()),
            HeldBytes::Device(memory) => guarded(|| memory.read(0, &mut []).map_err(|error| chain(&error))),
        }
    }

    fn as_storage(&self) -> StorageBytes<'_> {
        match self {
            HeldBytes::Host(bytes) => StorageBytes::host(bytes),
            HeldBytes::Device(memory) => StorageBytes::Device(&**memory),
        }
    }
}

impl HeldTensor {
    fn as_view(&self) -> TensorView<'_> {
        TensorView {
            dtype: self.dtype,
            layout: self.layout.clone(),
            storage: StorageView { id: self.id, bytes: self.bytes.as_storage() },
            flags: self.flags,
            device: self.device,
        }
    }
}

impl Held {
    /// Holds tensors; `None` where some memory cannot be held.
    fn of(tensors: &[(String, TensorView<'_>)]) -> Option<Held> {
        // Slices of one vector have its address, and lengths of their own.
        let mut storages: HashMap<(StorageId, usize), HeldBytes> = HashMap::new();
        let mut held = Held::default();
        for (key, tensor) in tensors {
            let TensorView { dtype, layout, storage, flags, device } = tensor;
            let bytes = match storages.entry((storage.id, storage.bytes.len())) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(unknown) => {
                    let (bytes, has_changed) = HeldBytes::of(&storage.bytes)?;
                    held.is_unstable |= has_changed;
                    unknown.insert(bytes).clone()
                }
            };
            let (dtype, layout, flags, device, id) = (*dtype, layout.clone(), *flags, *device, storage.id);
            held.tensors.push((key.clone(), HeldTensor { dtype, layout, flags, device, id, bytes }));
        }
        Some(held)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Tells whether what was copied may be what the memory never held.
    pub(crate) fn is_unstable(&self) -> bool {
        self.is_unstable
    }

    /// Borrows the tensors by their keys.
    pub(crate) fn views(&self) -> Vec<(&str, TensorView<'_>)> {
        self.tensors.iter().map(|(key, tensor)| (key.as_str(), tensor.as_view())).collect()
    }

    fn is_capturing(&self) -> bool {
        self.tensors.iter().any(|(_, tensor)| tensor.bytes.as_storage().is_capturing())
    }
}

impl HeldCall {
    /// Holds what a call was given; `None` where some memory cannot be held.
    pub(crate) fn of_inputs(inputs: &Described<'_>) -> Option<HeldCall> {
        Some(HeldCall { inputs: Held::of(&inputs.tensors)?, ..HeldCall::default() })
    }

    /// Holds what it gave as well.
    pub(crate) fn with_results(self, outputs: &Described<'_>, written: &Described<'_>) -> Option<HeldCall> {
        let (outputs, written) = (Held::of(&outputs.tensors)?, Held::of(&written.tensors)?);
        Some(HeldCall { outputs, written, ..self })
    }

    /// Returns the tensors of a group.
    pub(crate) fn of(&self, group: Group) -> &Held {
        match group {
            Group::Inputs => &self.inputs,
            Group::Outputs => &self.outputs,
            Group::ArgsAfter => &self.written,
        }
    }

    /// Tells whether a stream records a graph with one of the tensors: then nothing may be read.
    pub(crate) fn is_capturing(&self) -> bool {
        Group::ALL.into_iter().any(|group| self.of(group).is_capturing())
    }

    /// Waits for the streams of all tensors: one that is read before another's stream has finished would be of before the
    /// launch, beside one of after it.
    ///
    /// `waited` has what came of it for each storage that was waited for before: calls of a graph have many in common.
    pub(crate) fn wait(&self, waited: &mut Waited) -> Result<(), String> {
        let tensors = Group::ALL.into_iter().flat_map(|group| &self.of(group).tensors);
        let outcomes =
            tensors.map(|(_, tensor)| waited.entry(tensor.id).or_insert_with(|| tensor.bytes.wait()).clone());
        outcomes.fold(Ok(()), Result::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::MockDeviceMemory;

    #[test]
    fn host_memory_is_copied_once_a_storage_and_looks_the_same() {
        let bytes = vec![1u8, 2, 3];
        let view = |shape: &[usize]| {
            TensorView::new(DType::UInt8, Layout::contiguous(shape).unwrap(), &bytes).unwrap()
        };
        let held = Held::of(&[("a".to_owned(), view(&[3])), ("b".to_owned(), view(&[1, 2]))]).unwrap();
        drop(bytes);
        let views = held.views();
        let [("a", first), ("b", second)] = &views[..] else { panic!("{views:?}") };
        assert_eq!((first.layout.shape(), second.layout.shape()), (&[3][..], &[1, 2][..]));
        let address = |view: &TensorView<'_>| match &view.storage.bytes {
            StorageBytes::Host(bytes) => (bytes.as_ptr(), bytes.to_vec()),
            StorageBytes::Device(_) => panic!("it was on the host"),
        };
        assert_eq!((address(first), address(first).1), (address(second), vec![1, 2, 3]));
    }

    #[test]
    fn memory_that_nobody_keeps_is_not_held() {
        let mut memory = MockDeviceMemory::new();
        memory.expect_byte_len().return_const(1usize);
        memory.expect_retain().times(1).returning(|| None);
        let storage = StorageView { id: StorageId::new(1), bytes: StorageBytes::Device(&memory) };
        let view = TensorView {
            dtype: DType::UInt8,
            layout: Layout::contiguous(&[1]).unwrap(),
            storage,
            flags: Flags::default(),
            device: Device::Cuda(0),
        };
        assert!(Held::of(&[("a".to_owned(), view)]).is_none());
    }
}
