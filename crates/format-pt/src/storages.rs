//! Which storages a file holds, and how much of each.

use std::collections::HashMap;
use std::ops::Range;

use callbox_core::{DType, Layout, Quoted, Remark, StorageBytes, StorageId, TensorGroup};

/// A storage larger than this is cut to what is seen of it, if that is small beside it: a view of a few rows
/// of a KV cache should not write the cache.
const WHOLE_STORAGE_BYTES: usize = 64 << 20;
const WHOLE_STORAGE_RATIO: usize = 16;

/// The storages of a file in the order in which they are first seen, and which of them each tensor lies in.
pub(crate) struct Storages<'a> {
    pub(crate) stored: Vec<Stored<'a>>,
    /// For each tensor of the group, the place of its storage.
    pub(crate) places: Vec<usize>,
}

/// A storage as it is written: once for each dtype that it is seen as.
pub(crate) struct Stored<'a> {
    dtype: DType,
    /// Key of the first tensor that lies in it.
    key: &'a str,
    pub(crate) bytes: StorageBytes<'a>,
    /// The elements that are written.
    pub(crate) elements: Range<usize>,
}

impl<'a> Storages<'a> {
    /// Collects the storages of tensors that fit theirs.
    pub(crate) fn new(group: &'a TensorGroup<'a>) -> Storages<'a> {
        let mut storages = Storages { stored: Vec::new(), places: Vec::with_capacity(group.tensors.len()) };
        let mut known: HashMap<(StorageId, usize, DType), usize> = HashMap::new();
        for (key, tensor) in &group.tensors {
            let (dtype, bytes) = (tensor.dtype, tensor.storage.bytes.clone());
            let place = *known.entry((tensor.storage.id, bytes.len(), dtype)).or_insert_with(|| {
                storages.stored.push(Stored { dtype, key, bytes, elements: 0..0 });
                storages.stored.len() - 1
            });
            storages.places.push(place);
            storages.stored[place].see(&tensor.layout);
        }
        storages.stored.iter_mut().for_each(Stored::widen);
        storages
    }
}

impl Stored<'_> {
    /// Returns the bytes that are written.
    pub(crate) fn byte_range(&self) -> Range<usize> {
        let item_size = self.dtype.item_size();
        self.elements.start * item_size..self.elements.end * item_size
    }

    /// Says that only a part is written, if so.
    pub(crate) fn remark(&self) -> Option<Remark> {
        if self.elements.len() == self.len() {
            return None;
        }
        let text = format!(
            "tensor {} lies in a storage of {} bytes, of which only the {} that the tensors reach are written",
            Quoted(self.key.as_bytes()),
            self.bytes.len(),
            self.byte_range().len(),
        );
        Some(Remark { kind: "cut storage", text })
    }

    /// Returns the whole elements of the storage.
    fn len(&self) -> usize {
        self.bytes.len() / self.dtype.item_size()
    }

    /// Takes in the elements that a tensor reaches; an empty one reaches none.
    fn see(&mut self, layout: &Layout) {
        if layout.numel() == 0 {
            return;
        }
        let (start, end) = (layout.offset(), layout.end());
        self.elements = match self.elements {
            Range { end: 0, .. } => start..end,
            ref seen => seen.start.min(start)..seen.end.max(end),
        };
    }

    /// Takes in the whole storage, as torch does, unless what is seen of it is a small part of a large one.
    fn widen(&mut self) {
        let is_large = self.bytes.len() > WHOLE_STORAGE_BYTES;
        if !is_large || self.len() <= self.elements.len().saturating_mul(WHOLE_STORAGE_RATIO) {
            self.elements = 0..self.len();
        }
    }
}
