//! The names that a file of tensors may mention; every other one is refused.
//!
//! Nothing is ever imported or looked up in a program: a name that stands here becomes one of the variants
//! below, and that is all it can do.

use callbox_core::{DType, FormatError, Quoted};

/// What an allowed name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch.Size`, a tuple of sizes.
    Size,
    /// `torch.serialization._get_layout`, which finds a memory layout by its name.
    MemoryLayout,
    /// A scheme of quantisation.
    QuantizerScheme,
    /// A class that adds nothing to a tensor.
    TensorClass,
    /// A function that builds a tensor.
    Rebuild(Rebuild),
    /// A storage of elements of this dtype.
    Storage(DType),
    /// An element type.
    DType(DType),
}

/// The functions by which torch builds tensors from their parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rebuild {
    TensorV2,
    TensorV3,
    Parameter,
    ParameterWithState,
    FromType,
    Quantized,
    Sparse,
    Meta,
}

pub(crate) const UTILS: &str = "torch._utils";
pub(crate) const REBUILD_TENSOR_V2: &str = "_rebuild_tensor_v2";
pub(crate) const REBUILD_TENSOR_V3: &str = "_rebuild_tensor_v3";
pub(crate) const UNTYPED_STORAGE: [&str; 2] = ["torch.storage", "UntypedStorage"];
pub(crate) const ORDERED_DICT: [&str; 2] = ["collections", "OrderedDict"];

/// Storage classes in the module `torch`. Later dtypes have none and use `UntypedStorage`.
const STORAGES: [(&str, DType); 15] = [
    ("DoubleStorage", DType::Float64),
    ("FloatStorage", DType::Float32),
    ("HalfStorage", DType::Float16),
    ("BFloat16Storage", DType::BFloat16),
    ("LongStorage", DType::Int64),
    ("IntStorage", DType::Int32),
    ("ShortStorage", DType::Int16),
    ("CharStorage", DType::Int8),
    ("ByteStorage", DType::UInt8),
    ("BoolStorage", DType::Bool),
    ("ComplexFloatStorage", DType::Complex64),
    ("ComplexDoubleStorage", DType::Complex128),
    ("QInt8Storage", DType::QInt8),
    ("QUInt8Storage", DType::QUInt8),
    ("QInt32Storage", DType::QInt32),
];

/// Finds an allowed name.
pub(crate) fn find(module: &[u8], name: &[u8]) -> Result<Name, FormatError> {
    let known = match (module, name) {
        (b"collections", b"OrderedDict") => Some(Name::OrderedDict),
        (b"torch", b"Size") => Some(Name::Size),
        (b"torch", b"Tensor") | (b"torch.nn.parameter", b"Parameter" | b"Buffer") => Some(Name::TensorClass),
        (b"torch", b"per_tensor_affine" | b"per_tensor_symmetric")
        | (
            b"torch",
            b"per_channel_affine" | b"per_channel_symmetric" | b"per_channel_affine_float_qparams",
        ) => Some(Name::QuantizerScheme),
        (b"torch.serialization", b"_get_layout") => Some(Name::MemoryLayout),
        // torch reads an untyped storage as one of single bytes.
        (b"torch.storage" | b"torch", b"UntypedStorage") => Some(Name::Storage(DType::UInt8)),
        (b"torch._utils", function) => rebuild(function).map(Name::Rebuild),
        (b"torch._tensor", b"_rebuild_from_type_v2") => Some(Name::Rebuild(Rebuild::FromType)),
        (b"torch", name) => storage(name).or_else(|| dtype(name)),
        _ => None,
    };
    known.ok_or_else(|| {
        let full = [module, name].join(&b'.');
        FormatError::Refused(format!(
            "the file names {}, which no file of plain tensors needs; nothing of it was run",
            Quoted(&full)
        ))
    })
}

/// Returns the class in the module `torch` that stores elements of a dtype, if there is one.
pub(crate) fn storage_class(dtype: DType) -> Option<&'static str> {
    STORAGES.iter().find(|(_, stored)| *stored == dtype).map(|(class, _)| *class)
}

fn rebuild(function: &[u8]) -> Option<Rebuild> {
    Some(match function {
        b"_rebuild_tensor_v2" => Rebuild::TensorV2,
        b"_rebuild_tensor_v3" => Rebuild::TensorV3,
        b"_rebuild_parameter" => Rebuild::Parameter,
        b"_rebuild_parameter_with_state" => Rebuild::ParameterWithState,
        b"_rebuild_qtensor" => Rebuild::Quantized,
        b"_rebuild_sparse_tensor" => Rebuild::Sparse,
        b"_rebuild_meta_tensor_no_storage" => Rebuild::Meta,
        _ => return None,
    })
}

fn storage(name: &[u8]) -> Option<Name> {
    STORAGES.iter().find(|(class, _)| class.as_bytes() == name).map(|(_, dtype)| Name::Storage(*dtype))
}

fn dtype(name: &[u8]) -> Option<Name> {
    DType::all().find(|dtype| dtype.name().as_bytes() == name).map(Name::DType)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_are_written_can_be_read() {
        for dtype in DType::all() {
            let found = find(b"torch", dtype.name().as_bytes()).unwrap();
            assert_eq!(found, Name::DType(dtype));
            if let Some(class) = storage_class(dtype) {
                assert_eq!(find(b"torch", class.as_bytes()).unwrap(), Name::Storage(dtype));
            }
        }
        for (name, function) in
            [(REBUILD_TENSOR_V2, Rebuild::TensorV2), (REBUILD_TENSOR_V3, Rebuild::TensorV3)]
        {
            let found = find(UTILS.as_bytes(), name.as_bytes()).unwrap();
            assert_eq!(found, Name::Rebuild(function));
        }
        let [module, class] = UNTYPED_STORAGE;
        assert!(find(module.as_bytes(), class.as_bytes()).is_ok());
        let [module, class] = ORDERED_DICT;
        assert!(find(module.as_bytes(), class.as_bytes()).is_ok());
    }

    #[test]
    fn u52_a_name_that_could_do_something_is_refused_by_its_name() {
        for (module, name) in [
            ("os", "system"),
            ("builtins", "eval"),
            ("torch", "load"),
            ("torch._utils", "_import_dotted_name"),
            ("zoo_mod", "MyTensor"),
        ] {
            let error = find(module.as_bytes(), name.as_bytes()).unwrap_err();
            assert!(matches!(error, FormatError::Refused(_)));
            assert!(error.to_string().contains(&format!("`{module}.{name}`")), "{error}");
        }
    }
}
