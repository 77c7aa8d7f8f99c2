//! Building tensors from the parts that a pickle names.
//!
//! Torch saves a tensor as a call of one of a handful of functions (`torch/_utils.py`). Their arguments are
//! read here and checked against the storage; sizes, strides and offset count elements.

use callbox_core::layout::MAX_DIMS;
use callbox_core::{
    Bytes, DType, Device, Flags, FormatError, Layout, LoadedTensor, Quoted, TensorBuf, planted,
};

use crate::container::Archive;
use crate::pickle::{Pickle, Tuple, Value};
use crate::torch_names::{Name, Rebuild};

/// How deeply calls may be nested: a parameter around a tensor with attributes around a tensor takes three.
const DEEPEST_CALL: usize = 4;
/// Sizes and strides of all tensors of a file together. Tensors may share the tuple of their sizes, but not so
/// that a small file becomes large in memory.
pub(crate) const MOST_SIZES: usize = 1 << 18;
/// A tensor can be marked as a conjugate and as a negative.
const MOST_MARKS: usize = 2;
/// torch numbers its storages.
const LONGEST_STORAGE_NAME: usize = 64;

/// Builds the tensors of one file. What many tensors refer to is paid for by each of them, so everything that
/// can be shared is bounded.
pub(crate) struct Tensors<'a> {
    archive: &'a Archive<'a>,
    pickle: &'a Pickle<'a>,
    sizes_left: usize,
}

impl<'a> Tensors<'a> {
    pub(crate) fn new(archive: &'a Archive<'a>, pickle: &'a Pickle<'a>) -> Tensors<'a> {
        Tensors { archive, pickle, sizes_left: MOST_SIZES }
    }

    /// Builds the tensor that stands under `key`.
    pub(crate) fn build(&mut self, key: &str, value: Value<'a>) -> Result<LoadedTensor, FormatError> {
        let mut call = Call { tensors: self, key };
        call.tensor(value, DEEPEST_CALL)
    }
}

/// A storage that a tensor lies in.
struct Storage {
    bytes: Bytes,
    dtype: DType,
    device: Device,
}

/// The building of one tensor.
struct Call<'c, 'a> {
    tensors: &'c mut Tensors<'a>,
    key: &'c str,
}

impl<'a> Call<'_, 'a> {
    fn tensor(&mut self, value: Value<'a>, depth: usize) -> Result<LoadedTensor, FormatError> {
        match value {
            Value::Tensor(function, arguments) => self.rebuild(function, arguments, depth),
            other => {
                Err(FormatError::Unsupported(format!("{} is {}, not a tensor", self.quoted(), other.kind())))
            }
        }
    }

    fn rebuild(
        &mut self,
        function: Rebuild,
        arguments: Tuple,
        depth: usize,
    ) -> Result<LoadedTensor, FormatError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(FormatError::Limit(format!("{} is nested too deeply", self.quoted())));
        };
        let pickle = self.tensors.pickle;
        match (function, pickle.tuple(arguments)) {
            (Rebuild::TensorV2, [storage, offset, size, stride, grad, _hooks, marks @ ..]) => {
                let storage = self.storage(*storage)?;
                self.strided(storage, [*offset, *size, *stride], *grad, marks)
            }
            (
                Rebuild::TensorV3,
                [storage, offset, size, stride, grad, _hooks, Value::Name(Name::DType(dtype)), marks @ ..],
            ) => {
                let storage = Storage { dtype: *dtype, ..self.storage(*storage)? };
                self.strided(storage, [*offset, *size, *stride], *grad, marks)
            }
            // The integers are kept; the scheme, scale and zero point behind `_quantizer` are not.
            (Rebuild::Quantized, [storage, offset, size, stride, _quantizer, grad, _hooks]) => {
                let storage = self.storage(*storage)?;
                self.strided(storage, [*offset, *size, *stride], *grad, &[])
            }
            (Rebuild::Parameter, [data, grad, _hooks])
            | (Rebuild::ParameterWithState, [data, grad, _hooks, _]) => {
                let requires_grad = self.bool(*grad)?;
                Ok(match self.tensor(*data, depth)? {
                    LoadedTensor::Whole(tensor) => {
                        let flags = Flags { requires_grad, ..tensor.flags() };
                        LoadedTensor::Whole(tensor.with_flags(flags))
                    }
                    without @ LoadedTensor::WithoutElements { .. } => without,
                })
            }
            // Attributes that Python code hung on the tensor are left behind.
            (
                Rebuild::FromType,
                [
                    Value::Name(Name::Rebuild(function)),
                    Value::Name(Name::TensorClass),
                    Value::Tuple(arguments),
                    _state,
                ],
            ) => self.rebuild(*function, *arguments, depth),
            (Rebuild::Meta, [Value::Name(Name::DType(dtype)), size, _stride, _grad]) => {
                let shape = self.sizes(*size)?;
                let reason = "a tensor on the device `meta`".to_owned();
                Ok(LoadedTensor::WithoutElements { dtype: *dtype, shape, reason })
            }
            (Rebuild::Sparse, [Value::Text(layout), Value::Tuple(data)]) => self.sparse(layout, *data, depth),
            (
                Rebuild::TensorV2
                | Rebuild::TensorV3
                | Rebuild::Quantized
                | Rebuild::Parameter
                | Rebuild::ParameterWithState
                | Rebuild::FromType
                | Rebuild::Meta
                | Rebuild::Sparse,
                _,
            ) => Err(self.wrong("is built from other parts than torch gives it")),
        }
    }

    /// Reads the dtype and the shape of a sparse tensor: indices, values, size and whether it is coalesced;
    /// the compressed layouts have two tensors of indices.
    fn sparse(&mut self, layout: &[u8], data: Tuple, depth: usize) -> Result<LoadedTensor, FormatError> {
        let (values, size) = match self.tensors.pickle.tuple(data) {
            [_indices, values, size @ Value::Tuple(_), ..] => (*values, *size),
            [_compressed, _plain, values, size @ Value::Tuple(_)] => (*values, *size),
            _ => return Err(self.wrong("is a sparse tensor of other parts than torch gives it")),
        };
        let shape = self.sizes(size)?;
        let dtype = match self.tensor(values, depth)? {
            LoadedTensor::Whole(values) => values.dtype(),
            LoadedTensor::WithoutElements { dtype, .. } => dtype,
        };
        let reason = format!("a sparse tensor, {}", Quoted(layout));
        Ok(LoadedTensor::WithoutElements { dtype, shape, reason })
    }

    /// Lays sizes and strides over a storage.
    fn strided(
        &mut self,
        storage: Storage,
        [offset, size, stride]: [Value<'a>; 3],
        grad: Value<'a>,
        marks: &[Value<'a>],
    ) -> Result<LoadedTensor, FormatError> {
        let flags = self.flags(grad, marks, storage.dtype)?;
        let shape = self.sizes(size)?;
        let strides = self.sizes(stride)?;
        let offset = self.count(offset)?;
        let tensor = Layout::new(&shape, &strides, offset)
            .and_then(|layout| TensorBuf::new(storage.dtype, layout, storage.bytes))
            .map_err(|source| FormatError::Tensor { key: self.key.to_owned(), source })?;
        Ok(LoadedTensor::Whole(tensor.with_flags(flags).with_device(storage.device)))
    }

    /// Finds the storage behind a persistent id: `('storage', class, name, device, number of elements)`.
    fn storage(&self, value: Value<'a>) -> Result<Storage, FormatError> {
        let Value::Persistent(id) = value else {
            return Err(self.wrong("has no storage"));
        };
        let (dtype, name, device, count) = match *self.tensors.pickle.tuple(id) {
            [
                Value::Text(b"storage"),
                Value::Name(Name::Storage(dtype)),
                Value::Text(name),
                Value::Text(device),
                Value::Int(count),
            ] => (dtype, name, device, count),
            _ => return Err(self.wrong("has a storage that is none of torch's")),
        };
        let missing = || self.wrong(&format!("lies in storage {}, which the file lacks", Quoted(name)));
        if name.len() > LONGEST_STORAGE_NAME {
            return Err(FormatError::Limit(format!("a storage's name of {} bytes", name.len())));
        }
        let entry = std::str::from_utf8(name).map_err(|_| missing())?;
        let bytes = self.tensors.archive.get(&format!("data/{entry}")).ok_or_else(missing)?;
        let declared = usize::try_from(count).ok().and_then(|count| count.checked_mul(dtype.item_size()));
        if declared != Some(bytes.len()) && !planted::bug("storage_size_unchecked") {
            return Err(self.wrong(&format!(
                "lies in a storage of {count} elements of {} bytes, but the file has {} bytes for it",
                dtype.item_size(),
                bytes.len()
            )));
        }
        // The bytes are here whatever device held them; a device without a name of ours counts as the host.
        let device = std::str::from_utf8(device).ok().and_then(|name| name.parse().ok());
        Ok(Storage { bytes, dtype, device: device.unwrap_or_default() })
    }

    fn flags(&self, grad: Value<'a>, marks: &[Value<'a>], dtype: DType) -> Result<Flags, FormatError> {
        let mut flags = Flags { requires_grad: self.bool(grad)?, ..Flags::default() };
        let marks = match marks {
            [] | [Value::None] => &[],
            [Value::Dict(marks)] => self.tensors.pickle.dict(*marks),
            _ => return Err(self.wrong("is built from other parts than torch gives it")),
        };
        if marks.len() > MOST_MARKS {
            return Err(self.wrong(&format!("has {} marks", marks.len())));
        }
        for [name, value] in marks {
            match name {
                Value::Text(b"conj") => flags.conj = self.bool(*value)?,
                Value::Text(b"neg") => flags.neg = self.bool(*value)?,
                Value::Text(other) => {
                    return Err(FormatError::Unsupported(format!(
                        "{} has the mark {}",
                        self.quoted(),
                        Quoted(other)
                    )));
                }
                other => return Err(self.wrong(&format!("has {} for a mark", other.kind()))),
            }
        }
        if let Some(mark) = flags.meaningless_mark(dtype) {
            return Err(self.wrong(&format!("is {dtype} and marked as {mark}")));
        }
        Ok(flags)
    }

    /// Reads a tuple of sizes or strides.
    fn sizes(&mut self, value: Value<'a>) -> Result<Vec<usize>, FormatError> {
        let Value::Tuple(sizes) = value else {
            return Err(self.wrong(&format!("has {} for its sizes", value.kind())));
        };
        let sizes = self.tensors.pickle.tuple(sizes);
        if sizes.len() > MAX_DIMS {
            return Err(self.wrong(&format!("has {} dimensions, torch has {MAX_DIMS}", sizes.len())));
        }
        self.tensors.sizes_left = self.tensors.sizes_left.checked_sub(sizes.len()).ok_or_else(|| {
            FormatError::Limit(format!("the tensors have more than {MOST_SIZES} sizes and strides"))
        })?;
        sizes.iter().map(|size| self.count(*size)).collect()
    }

    fn count(&self, value: Value<'a>) -> Result<usize, FormatError> {
        match value {
            Value::Int(count) => usize::try_from(count)
                .map_err(|_| self.wrong(&format!("has {count} for a size, stride or offset"))),
            other => Err(self.wrong(&format!("has {} for a size, stride or offset", other.kind()))),
        }
    }

    fn bool(&self, value: Value<'a>) -> Result<bool, FormatError> {
        match value {
            Value::Bool(value) => Ok(value),
            other => Err(self.wrong(&format!("has {} for a yes or no", other.kind()))),
        }
    }

    fn quoted(&self) -> String {
        format!("tensor {}", Quoted(self.key.as_bytes()))
    }

    fn wrong(&self, what: &str) -> FormatError {
        FormatError::Inconsistent(format!("{} {what}", self.quoted()))
    }
}
