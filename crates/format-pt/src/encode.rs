//! From tensors to a file.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io::Write;
use std::num::TryFromIntError;
use std::ops::Range;

use callbox_core::{
    DType, DTypeKind, DeviceMemory, FilePlan, FormatError, Layout, StorageBytes, StorageId, TensorGroup,
    TensorView,
};

use crate::container::{ALIGNMENT, ArchiveWriter, BYTE_ORDER, EntryWriter, PICKLE, VERSION};
use crate::pickle::PickleWriter;
use crate::serializer::FORMAT;
use crate::torch_names::{
    ORDERED_DICT, REBUILD_TENSOR_V2, REBUILD_TENSOR_V3, UNTYPED_STORAGE, UTILS, storage_class,
};

/// A storage larger than this is cut to what is seen of it, if that is small beside it: a view of a few rows
/// of a KV cache should not write the cache.
const WHOLE_STORAGE_BYTES: usize = 64 << 20;
const WHOLE_STORAGE_RATIO: usize = 16;
/// Device memory is read in pieces of this size.
const STAGING_BYTES: usize = 1 << 20;
/// Where `torch.load` puts the tensors. The bytes come from host memory or through it, and the file must open
/// on a machine without the device; the call's record says where a tensor was.
const LOCATION: &str = "cpu";

/// Counts the bytes of the file.
pub(crate) fn plan(group: &TensorGroup<'_>) -> Result<FilePlan, FormatError> {
    let mut count = Count(0);
    encode(group, &mut count)?;
    Ok(FilePlan { format: FORMAT, bytes: count.0, remarks: Vec::new() })
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn encode(group: &TensorGroup<'_>, out: &mut dyn Write) -> Result<(), FormatError> {
    let plan = Plan::new(group)?;
    let mut archive = ArchiveWriter::new(out, group.stem)?;
    archive.entry(PICKLE, &plan.pickle(group)?)?;
    archive.entry(".format_version", b"1")?;
    archive.entry(".storage_alignment", ALIGNMENT.to_string().as_bytes())?;
    archive.entry(BYTE_ORDER, b"little")?;
    for (number, storage) in plan.storages.iter().enumerate() {
        let bytes = storage.bytes_range();
        let mut entry = archive.begin(&format!("data/{number}"), bytes.len() as u64)?;
        match &storage.bytes {
            StorageBytes::Host(host) => entry.write(&host[bytes])?,
            StorageBytes::Device(memory) => stage(*memory, bytes, &mut entry)?,
        }
        entry.end()?;
    }
    archive.entry(VERSION, b"3\n")?;
    let id = archive.serialization_id();
    archive.entry(".data/serialization_id", id.as_bytes())?;
    archive.finish()
}

fn stage(
    memory: &dyn DeviceMemory,
    bytes: Range<usize>,
    entry: &mut EntryWriter<'_, '_>,
) -> Result<(), FormatError> {
    let mut staging = vec![0; bytes.len().min(STAGING_BYTES)];
    for start in bytes.clone().step_by(STAGING_BYTES) {
        let piece = &mut staging[..STAGING_BYTES.min(bytes.end - start)];
        memory.read(start, piece)?;
        entry.write(piece)?;
    }
    Ok(())
}

/// Which storages are written, and which of them each tensor lies in.
struct Plan<'a> {
    storages: Vec<Stored<'a>>,
    /// For each tensor of the group, the place of its storage.
    places: Vec<usize>,
}

/// A storage as it is written: once for each dtype that it is seen as.
struct Stored<'a> {
    dtype: DType,
    bytes: StorageBytes<'a>,
    /// The elements that are written.
    elements: Range<usize>,
}

impl Stored<'_> {
    fn bytes_range(&self) -> Range<usize> {
        let item_size = self.dtype.item_size();
        self.elements.start * item_size..self.elements.end * item_size
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
        let whole = self.bytes.len() / self.dtype.item_size();
        let is_large = self.bytes.len() > WHOLE_STORAGE_BYTES;
        if !is_large || whole <= self.elements.len().saturating_mul(WHOLE_STORAGE_RATIO) {
            self.elements = 0..whole;
        }
    }
}

impl<'a> Plan<'a> {
    /// Checks the tensors and collects their storages, each in the order in which it is first seen.
    fn new(group: &TensorGroup<'a>) -> Result<Plan<'a>, FormatError> {
        let mut plan = Plan { storages: Vec::new(), places: Vec::with_capacity(group.tensors.len()) };
        let mut known: HashMap<(StorageId, usize, DType), usize> = HashMap::new();
        let mut keys = HashSet::new();
        for (key, tensor) in &group.tensors {
            check(key, tensor)?;
            if !keys.insert(*key) {
                return Err(cannot_hold(key, "another tensor has the same key"));
            }
            let bytes = tensor.storage.bytes.clone();
            let place = *known.entry((tensor.storage.id, bytes.len(), tensor.dtype)).or_insert_with(|| {
                plan.storages.push(Stored { dtype: tensor.dtype, bytes, elements: 0..0 });
                plan.storages.len() - 1
            });
            plan.places.push(place);
            plan.storages[place].see(&tensor.layout);
        }
        plan.storages.iter_mut().for_each(Stored::widen);
        Ok(plan)
    }

    fn pickle(&self, group: &TensorGroup<'_>) -> Result<Vec<u8>, FormatError> {
        let mut pickle = PickleWriter::new();
        let entries: Vec<_> = group.tensors.iter().zip(&self.places).collect();
        pickle.dict(&entries, |pickle, ((key, tensor), place)| {
            pickle.text(key);
            let fault = |_| cannot_hold(key, "torch has no sizes or strides beyond 63 bits");
            put_tensor(pickle, tensor, &self.storages[**place], **place).map_err(fault)
        })?;
        Ok(pickle.finish())
    }
}

fn check(key: &str, tensor: &TensorView<'_>) -> Result<(), FormatError> {
    if tensor.dtype.kind() == DTypeKind::Quantized {
        return Err(cannot_hold(key, "its scale and zero point are not known"));
    }
    let available = tensor.storage.bytes.len() / tensor.dtype.item_size();
    let fits = tensor.layout.check_storage(available);
    fits.map_err(|source| FormatError::Tensor { key: key.to_owned(), source })
}

fn cannot_hold(key: &str, reason: &str) -> FormatError {
    FormatError::CannotHold { key: key.to_owned(), reason: reason.to_owned() }
}

/// Writes the call that rebuilds a tensor, argument by argument in the order of `torch/_utils.py`.
fn put_tensor(
    pickle: &mut PickleWriter<'_>,
    tensor: &TensorView<'_>,
    storage: &Stored<'_>,
    place: usize,
) -> Result<(), TryFromIntError> {
    let class = storage_class(tensor.dtype);
    let function = match class {
        Some(_) => REBUILD_TENSOR_V2,
        None => REBUILD_TENSOR_V3,
    };
    pickle.name([UTILS, function]);
    pickle.mark();

    pickle.mark();
    pickle.shared_text("storage");
    match class {
        Some(class) => pickle.name(["torch", class]),
        None => pickle.name(UNTYPED_STORAGE),
    }
    pickle.shared_text(&place.to_string());
    pickle.shared_text(LOCATION);
    let count = match class {
        Some(_) => storage.elements.len(),
        None => storage.bytes_range().len(),
    };
    pickle.int(i64::try_from(count)?);
    pickle.tuple();
    pickle.persistent_id();

    // Only an empty tensor may begin before what is written; where it begins says nothing.
    let written = &storage.elements;
    let offset = tensor.layout.offset().saturating_sub(written.start);
    pickle.int(i64::try_from(offset)?);
    pickle.int_tuple(&to_i64(tensor.layout.shape())?);
    pickle.int_tuple(&to_i64(tensor.layout.strides())?);
    pickle.bool(tensor.flags.requires_grad);
    pickle.name(ORDERED_DICT);
    pickle.reduce_empty();
    if class.is_none() {
        pickle.name(["torch", tensor.dtype.name()]);
    }
    put_marks(pickle, tensor);
    pickle.tuple();
    pickle.reduce();
    Ok(())
}

/// Writes the marks that are set; without any, torch writes no dict at all.
fn put_marks(pickle: &mut PickleWriter<'_>, tensor: &TensorView<'_>) {
    let marks = [("conj", tensor.flags.conj), ("neg", tensor.flags.neg)];
    let set: Vec<_> = marks.iter().filter(|(_, is_set)| *is_set).collect();
    if !set.is_empty() {
        let Ok(()) = pickle.dict(&set, |pickle, (mark, _)| -> Result<(), Infallible> {
            pickle.shared_text(mark);
            pickle.bool(true);
            Ok(())
        });
    }
}

fn to_i64(sizes: &[usize]) -> Result<Vec<i64>, TryFromIntError> {
    sizes.iter().map(|&size| i64::try_from(size)).collect()
}
