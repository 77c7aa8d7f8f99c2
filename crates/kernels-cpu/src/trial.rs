//! Trying calls in tests: the one place there that knows how arguments are handed over and compared.

use callbox_core::{
    Arguments, Bytes, DType, ExecError, Executor, FunctionName, Layout, OwnedValue, TensorBuf, Value,
};
use proptest::prelude::*;

use crate::CpuExecutor;

/// A call in the making.
pub(crate) struct Trial {
    function: FunctionName,
    arguments: Arguments,
}

/// Begins a call of a function.
pub(crate) fn call(function: &str) -> Trial {
    Trial { function: FunctionName::new("flashinfer", function), arguments: Arguments::default() }
}

impl Trial {
    /// Appends an argument by position.
    pub(crate) fn with(mut self, value: impl Argument) -> Trial {
        self.arguments.positional.push(value.into_value());
        self
    }

    /// Appends an argument by name.
    pub(crate) fn named(mut self, name: &str, value: impl Argument) -> Trial {
        self.arguments.keyword.push((name.to_owned(), value.into_value()));
        self
    }

    /// Returns the name of the function.
    pub(crate) fn function(&self) -> &FunctionName {
        &self.function
    }

    /// Gives the arguments up, for a method or a constructor.
    pub(crate) fn into_arguments(self) -> Arguments {
        self.arguments
    }

    /// Makes the call.
    pub(crate) fn run(mut self) -> Result<OwnedValue, ExecError> {
        CpuExecutor.call(&self.function, &mut self.arguments)
    }

    /// Makes a call that must return one tensor.
    pub(crate) fn tensor(self) -> TensorBuf {
        match self.run().unwrap() {
            Value::Tensor(tensor) => tensor,
            other => panic!("{other:?}"),
        }
    }

    /// Makes a call that must return a tuple of two tensors.
    pub(crate) fn pair(self) -> (TensorBuf, TensorBuf) {
        match self.run().unwrap() {
            Value::Tuple { items, .. } => match <[_; 2]>::try_from(items).unwrap() {
                [Value::Tensor(first), Value::Tensor(second)] => (first, second),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Makes a call that must return None, and returns the arguments it may have written into.
    pub(crate) fn in_place(mut self) -> Vec<OwnedValue> {
        let returned = CpuExecutor.call(&self.function, &mut self.arguments).unwrap();
        assert_eq!(returned.type_name(), "None");
        self.arguments.positional
    }

    /// Makes a call that must fail, and returns the message.
    pub(crate) fn error(self) -> String {
        self.run().unwrap_err().to_string()
    }
}

/// What a test hands over.
pub(crate) trait Argument {
    fn into_value(self) -> OwnedValue;
}

impl Argument for TensorBuf {
    fn into_value(self) -> OwnedValue {
        Value::Tensor(self)
    }
}

impl Argument for OwnedValue {
    fn into_value(self) -> OwnedValue {
        self
    }
}

impl Argument for f32 {
    fn into_value(self) -> OwnedValue {
        Value::Float(f64::from(self))
    }
}

impl Argument for i64 {
    fn into_value(self) -> OwnedValue {
        Value::int(self)
    }
}

impl Argument for bool {
    fn into_value(self) -> OwnedValue {
        Value::Bool(self)
    }
}

impl Argument for &str {
    fn into_value(self) -> OwnedValue {
        Value::text(self)
    }
}

impl Argument for DType {
    fn into_value(self) -> OwnedValue {
        Value::dtype(self)
    }
}

/// Builds a row-major tensor, each value rounded to `dtype`.
pub(crate) fn tensor(dtype: DType, shape: &[usize], values: &[f32]) -> TensorBuf {
    TensorBuf::from_f32(dtype, shape, values).unwrap()
}

/// Builds a tensor of one dimension.
pub(crate) fn vector(dtype: DType, values: &[f32]) -> TensorBuf {
    tensor(dtype, &[values.len()], values)
}

/// Builds an f32 tensor without dimensions.
pub(crate) fn scalar(value: f32) -> TensorBuf {
    tensor(DType::Float32, &[], &[value])
}

/// Builds a tensor of bytes.
pub(crate) fn byte_tensor(shape: &[usize], bytes: &[u8]) -> TensorBuf {
    TensorBuf::from_elements(DType::UInt8, shape, bytes.to_vec()).unwrap()
}

/// Builds an int32 tensor of one dimension.
pub(crate) fn ints(values: &[i32]) -> TensorBuf {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorBuf::from_elements(DType::Int32, &[values.len()], bytes).unwrap()
}

/// Builds an int64 tensor of one dimension.
pub(crate) fn longs(values: &[i32]) -> TensorBuf {
    let bytes = values.iter().flat_map(|&value| i64::from(value).to_le_bytes()).collect();
    TensorBuf::from_elements(DType::Int64, &[values.len()], bytes).unwrap()
}

/// Builds a tensor of values between -3 and 3 that follow from the seed.
pub(crate) fn random(dtype: DType, shape: &[usize], seed: u64) -> TensorBuf {
    let mut state = seed;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            // The linear congruential generator of Knuth's MMIX; its high bits are good enough here.
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 6.0
        })
        .collect();
    tensor(dtype, shape, &values)
}

/// Builds the same tensor over a storage in which the first dimension is the innermost and every element has
/// a gap behind it.
pub(crate) fn scattered(tensor: &TensorBuf) -> TensorBuf {
    let mut strides = Vec::new();
    let mut stride = 2;
    for &size in tensor.shape() {
        strides.push(stride);
        stride *= size;
    }
    let layout = Layout::new(tensor.shape(), &strides, 1).unwrap();
    let storage = vec![0; layout.end() * tensor.dtype().item_size()];
    let mut scattered = TensorBuf::new(tensor.dtype(), layout, Bytes::from(storage)).unwrap();
    scattered.write_elements(&tensor.to_bytes()).unwrap();
    scattered
}

/// Exchanges the last two dimensions, without moving an element.
pub(crate) fn transposed(tensor: &TensorBuf) -> TensorBuf {
    let layout = tensor.layout();
    let (mut shape, mut strides) = (layout.shape().to_vec(), layout.strides().to_vec());
    let last = shape.len() - 1;
    shape.swap(last - 1, last);
    strides.swap(last - 1, last);
    tensor.with_layout(Layout::new(&shape, &strides, layout.offset()).unwrap()).unwrap()
}

/// Returns the elements in f64.
pub(crate) fn exact(tensor: &TensorBuf) -> Vec<f64> {
    tensor.to_f64().unwrap()
}

/// Any dtype that the kernels round floats to.
pub(crate) fn float_dtype() -> impl Strategy<Value = DType> {
    prop::sample::select(vec![DType::Float32, DType::Float16, DType::BFloat16])
}

/// Checks that every element is the expected one, rounded once.
///
/// `slack` is the error that f32 arithmetic may have made before, as a share of the largest expected value.
pub(crate) fn check_rounded(actual: &TensorBuf, expected: &[f64], slack: f64) {
    let largest = expected
        .iter()
        .filter(|value| value.is_finite())
        .fold(0.0, |largest: f64, value| largest.max(value.abs()));
    check_rounded_within(actual, expected, slack * largest);
}

/// Checks as [`check_rounded`] does, with the error itself: where terms cancel, the results say nothing of the
/// size of their terms.
pub(crate) fn check_rounded_within(actual: &TensorBuf, expected: &[f64], error: f64) {
    let (mantissa_bits, lowest_exponent) = match actual.dtype() {
        DType::Float32 => (23, -126),
        DType::Float16 => (10, -14),
        DType::BFloat16 => (7, -126),
        other => panic!("no bound for {other}"),
    };
    let half_a_unit = |value: f64| {
        let exponent = value.abs().log2().floor().max(f64::from(lowest_exponent));
        (exponent - f64::from(mantissa_bits) - 1.0).exp2()
    };
    assert_eq!(actual.numel(), expected.len());
    for (place, (actual, expected)) in exact(actual).into_iter().zip(expected).enumerate() {
        if actual == *expected {
            continue;
        }
        let allowed = half_a_unit(*expected) + error;
        assert!(
            (actual - expected).abs() <= allowed,
            "element {place}: {actual} where {expected} was expected, within {allowed:e}"
        );
    }
}
