//! From tensors to a file.

use std::borrow::Cow;
use std::collections::HashSet;
use std::convert::Infallible;
use std::io::Write;
use std::num::TryFromIntError;
use std::ops::Range;

use callbox_core::{
    DType, DTypeKind, DeviceMemory, FilePlan, FormatError, Remark, StorageBytes, TensorGroup, TensorView,
};

use crate::container::{ALIGNMENT, ArchivePlan, ArchiveWriter, BYTE_ORDER, EntryWriter, PICKLE, VERSION};
use crate::decode::MOST_TENSORS;
use crate::pickle::PickleWriter;
use crate::serializer::FORMAT;
use crate::storages::{Storages, Stored};
use crate::tensor::MOST_SIZES;
use crate::torch_names::{
    ORDERED_DICT, REBUILD_TENSOR_V2, REBUILD_TENSOR_V3, UNTYPED_STORAGE, UTILS, storage_class,
};

/// Device memory is read in pieces of this size.
const STAGING_BYTES: usize = 1 << 20;
/// Where `torch.load` puts the tensors. The bytes come from host memory or through it, and the file must open
/// on a machine without the device; the call's record says where a tensor was.
const LOCATION: &str = "cpu";
/// Digits of the entry that tells files apart.
const SERIALIZATION_ID_LEN: u64 = 40;

/// Sizes the file; no element is read.
pub(crate) fn plan(group: &TensorGroup<'_>) -> Result<FilePlan, FormatError> {
    let entries = entries(group)?;
    let remarks = entries.iter().filter_map(|(_, content)| content.remark()).collect();
    Ok(FilePlan { format: FORMAT, bytes: place(group.stem, &entries)?.byte_len(), hash: None, remarks })
}

pub(crate) fn encode(group: &TensorGroup<'_>, out: &mut dyn Write) -> Result<(), FormatError> {
    let entries = entries(group)?;
    let plan = place(group.stem, &entries)?;
    let mut archive = ArchiveWriter::new(out, &plan);
    for (_, content) in &entries {
        match content {
            Content::Bytes(bytes) => archive.entry(bytes)?,
            Content::Storage(storage) => put_storage(storage, archive.begin()?)?,
            Content::SerializationId => {
                let id = archive.serialization_id();
                archive.entry(id.as_bytes())?;
            }
        }
    }
    archive.finish()
}

/// What an entry of the archive holds.
enum Content<'a> {
    Bytes(Cow<'static, [u8]>),
    Storage(Stored<'a>),
    /// Digits made of what was written before them.
    SerializationId,
}

impl Content<'_> {
    fn byte_len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Storage(storage) => storage.byte_range().len() as u64,
            Content::SerializationId => SERIALIZATION_ID_LEN,
        }
    }

    fn remark(&self) -> Option<Remark> {
        match self {
            Content::Storage(storage) => storage.remark(),
            Content::Bytes(_) | Content::SerializationId => None,
        }
    }
}

type Entries<'a> = Vec<(Cow<'static, str>, Content<'a>)>;

/// Checks the tensors and lists the entries of their file, by name, in torch's order.
fn entries<'a>(group: &'a TensorGroup<'a>) -> Result<Entries<'a>, FormatError> {
    check(group)?;
    let storages = Storages::new(group);
    let text = |text: &'static [u8]| Content::Bytes(Cow::Borrowed(text));
    let mut entries = Vec::with_capacity(6 + storages.stored.len());
    entries.push((PICKLE.into(), Content::Bytes(pickle(group, &storages)?.into())));
    entries.push((".format_version".into(), text(b"1")));
    entries.push((".storage_alignment".into(), Content::Bytes(ALIGNMENT.to_string().into_bytes().into())));
    entries.push((BYTE_ORDER.into(), text(b"little")));
    let stored = storages.stored.into_iter().enumerate();
    entries
        .extend(stored.map(|(place, storage)| (format!("data/{place}").into(), Content::Storage(storage))));
    entries.push((VERSION.into(), text(b"3\n")));
    entries.push((".data/serialization_id".into(), Content::SerializationId));
    Ok(entries)
}

fn place<'a>(root: &'a str, entries: &Entries<'_>) -> Result<ArchivePlan<'a>, FormatError> {
    let mut plan = ArchivePlan::new(root)?;
    entries.iter().for_each(|(name, content)| plan.add(name, content.byte_len()));
    Ok(plan)
}

fn put_storage(storage: &Stored<'_>, mut entry: EntryWriter<'_, '_>) -> Result<(), FormatError> {
    let bytes = storage.byte_range();
    match &storage.bytes {
        StorageBytes::Host(host) => entry.write(&host[bytes])?,
        StorageBytes::Device(memory) => stage(*memory, bytes, &mut entry)?,
    }
    entry.end()
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

/// Fails for what no file can hold, or what [`crate::decode`] would not read back.
fn check(group: &TensorGroup<'_>) -> Result<(), FormatError> {
    let sizes: usize = group.tensors.iter().map(|(_, tensor)| 2 * tensor.layout.shape().len()).sum();
    if group.tensors.len() > MOST_TENSORS || sizes > MOST_SIZES {
        return Err(FormatError::Limit(format!(
            "{} tensors with {sizes} sizes and strides; {MOST_TENSORS} with {MOST_SIZES} can be read back",
            group.tensors.len()
        )));
    }
    let mut keys = HashSet::with_capacity(group.tensors.len());
    for (key, tensor) in &group.tensors {
        check_tensor(key, tensor)?;
        if !keys.insert(*key) {
            return Err(cannot_hold(key, "another tensor has the same key"));
        }
    }
    Ok(())
}

fn check_tensor(key: &str, tensor: &TensorView<'_>) -> Result<(), FormatError> {
    if tensor.dtype.kind() == DTypeKind::Quantized {
        return Err(cannot_hold(key, "its scale and zero point are not known"));
    }
    if let Some(mark) = tensor.flags.meaningless_mark(tensor.dtype) {
        return Err(cannot_hold(key, &format!("it is {} and marked as {mark}", tensor.dtype)));
    }
    let available = tensor.storage.bytes.len() / tensor.dtype.item_size();
    let fits = tensor.layout.check_storage(available);
    fits.map_err(|source| FormatError::Tensor { key: key.to_owned(), source })
}

fn cannot_hold(key: &str, reason: &str) -> FormatError {
    FormatError::CannotHold { key: key.to_owned(), reason: reason.to_owned() }
}

fn pickle(group: &TensorGroup<'_>, storages: &Storages<'_>) -> Result<Vec<u8>, FormatError> {
    let mut pickle = PickleWriter::new();
    let entries: Vec<_> = group.tensors.iter().zip(&storages.places).collect();
    pickle.dict(&entries, |pickle, ((key, tensor), place)| {
        pickle.text(key);
        let fault = |_| cannot_hold(key, "torch has no sizes or strides beyond 63 bits");
        put_tensor(pickle, tensor, &storages.stored[**place], **place).map_err(fault)
    })?;
    Ok(pickle.finish())
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
        None => storage.byte_range().len(),
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
    pickle.bool(tensor.flags.requires_grad && can_require_grad(tensor.dtype));
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

/// Writes the marks that are set, each by its name anew and in torch's order; without any, torch writes no dict
/// at all.
fn put_marks(pickle: &mut PickleWriter<'_>, tensor: &TensorView<'_>) {
    let marks = [("neg", tensor.flags.neg), ("conj", tensor.flags.conj)];
    let set: Vec<_> = marks.iter().filter(|(_, is_set)| *is_set).collect();
    if !set.is_empty() {
        let Ok(()) = pickle.dict(&set, |pickle, (mark, _)| -> Result<(), Infallible> {
            pickle.text(mark);
            pickle.bool(true);
            Ok(())
        });
    }
}

/// Tells whether `torch.load` takes the mark of gradients on a dtype: it refuses it on integers, and its
/// `_rebuild_tensor_v3` fails on a tensor that has it.
fn can_require_grad(dtype: DType) -> bool {
    match dtype.kind() {
        DTypeKind::Float | DTypeKind::PackedFloat | DTypeKind::Complex => storage_class(dtype).is_some(),
        DTypeKind::Integer | DTypeKind::Bool | DTypeKind::Quantized => false,
    }
}

fn to_i64(sizes: &[usize]) -> Result<Vec<i64>, TryFromIntError> {
    sizes.iter().map(|&size| i64::try_from(size)).collect()
}
