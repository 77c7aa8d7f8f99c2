//! Element types: every torch dtype that a recorded tensor can have, one table row each.

use std::fmt;

/// The element type of a tensor, named as torch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the torch dtype of that name")]
pub enum DType {
    Float64,
    Float32,
    Float16,
    BFloat16,
    Float8E4M3Fn,
    Float8E5M2,
    Float8E4M3FnUz,
    Float8E5M2FnUz,
    Float8E8M0Fnu,
    /// Two e2m1 codes a byte; sizes and strides count bytes, as torch counts them.
    Float4E2M1FnX2,
    Int64,
    Int32,
    Int16,
    Int8,
    UInt64,
    UInt32,
    UInt16,
    UInt8,
    Bool,
    Complex32,
    Complex64,
    Complex128,
    QInt8,
    QUInt8,
    QInt32,
}

/// What the bits of an element mean, as far as reading and comparing them goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DTypeKind {
    /// A real floating-point number.
    Float,
    /// Two packed four-bit floats.
    PackedFloat,
    /// A signed or unsigned integer.
    Integer,
    /// One byte, zero or one.
    Bool,
    /// Two floats: real part, imaginary part.
    Complex,
    /// An integer that stands for a real number through a quantiser.
    Quantized,
}

struct Row {
    dtype: DType,
    torch: &'static str,
    item_size: usize,
    kind: DTypeKind,
}

const fn row(dtype: DType, torch: &'static str, item_size: usize, kind: DTypeKind) -> Row {
    Row { dtype, torch, item_size, kind }
}

/// One row a dtype, in the order of the enum (a test holds the order).
const ROWS: [Row; 25] = {
    use DTypeKind::{Bool, Complex, Float, Integer, PackedFloat, Quantized};
    [
        row(DType::Float64, "float64", 8, Float),
        row(DType::Float32, "float32", 4, Float),
        row(DType::Float16, "float16", 2, Float),
        row(DType::BFloat16, "bfloat16", 2, Float),
        row(DType::Float8E4M3Fn, "float8_e4m3fn", 1, Float),
        row(DType::Float8E5M2, "float8_e5m2", 1, Float),
        row(DType::Float8E4M3FnUz, "float8_e4m3fnuz", 1, Float),
        row(DType::Float8E5M2FnUz, "float8_e5m2fnuz", 1, Float),
        row(DType::Float8E8M0Fnu, "float8_e8m0fnu", 1, Float),
        row(DType::Float4E2M1FnX2, "float4_e2m1fn_x2", 1, PackedFloat),
        row(DType::Int64, "int64", 8, Integer),
        row(DType::Int32, "int32", 4, Integer),
        row(DType::Int16, "int16", 2, Integer),
        row(DType::Int8, "int8", 1, Integer),
        row(DType::UInt64, "uint64", 8, Integer),
        row(DType::UInt32, "uint32", 4, Integer),
        row(DType::UInt16, "uint16", 2, Integer),
        row(DType::UInt8, "uint8", 1, Integer),
        row(DType::Bool, "bool", 1, Bool),
        row(DType::Complex32, "complex32", 4, Complex),
        row(DType::Complex64, "complex64", 8, Complex),
        row(DType::Complex128, "complex128", 16, Complex),
        row(DType::QInt8, "qint8", 1, Quantized),
        row(DType::QUInt8, "quint8", 1, Quantized),
        row(DType::QInt32, "qint32", 4, Quantized),
    ]
};

impl DType {
    /// Lists every dtype.
    pub fn all() -> impl Iterator<Item = DType> {
        ROWS.iter().map(|row| row.dtype)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Returns torch's name without the `torch.` in front, for example `float16`.
    pub fn name(self) -> &'static str {
        self.row().torch
    }

    /// Returns the size of one element in bytes.
    pub fn item_size(self) -> usize {
        self.row().item_size
    }

    /// Returns what the bits of an element mean.
    pub fn kind(self) -> DTypeKind {
        self.row().kind
    }

    /// Finds a dtype by torch's name, with or without `torch.` in front.
    ///
    /// torch's short aliases (`half`, `float`, `long`, ...) count too, as they do for FlashInfer's
    /// "str or dtype" arguments.
    pub fn from_torch_name(name: &str) -> Option<DType> {
        let name = name.strip_prefix("torch.").unwrap_or(name);
        let name = match name {
            "half" => "float16",
            "float" => "float32",
            "double" => "float64",
            "char" => "int8",
            "short" => "int16",
            "int" => "int32",
            "long" => "int64",
            "chalf" => "complex32",
            "cfloat" => "complex64",
            "cdouble" => "complex128",
            other => other,
        };
        ROWS.iter().find(|row| row.torch == name).map(|row| row.dtype)
    }
}

/// Writes the dtype as torch prints it: `torch.float16`.
impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "torch.{}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lies_in_the_order_of_the_enum() {
        for (position, dtype) in DType::all().enumerate() {
            assert_eq!(dtype as usize, position, "{dtype}");
        }
    }

    #[test]
    fn every_name_finds_its_dtype_again() {
        for dtype in DType::all() {
            assert_eq!(DType::from_torch_name(dtype.name()), Some(dtype));
            assert_eq!(DType::from_torch_name(&dtype.to_string()), Some(dtype));
        }
    }

    #[test]
    fn a_name_that_is_no_dtype_finds_nothing() {
        assert_eq!(DType::from_torch_name("torch.load"), None);
    }
}
