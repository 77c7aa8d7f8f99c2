//! A call, answered by the device and by the CPU.

use callbox::core::{Arguments, ExecError, Executor, FunctionName, Layout};
use callbox::{DType, OwnedValue, TensorBuf, Value};
use callbox_kernels_cpu::CpuExecutor;
use callbox_kernels_cuda::{CudaDevice, CudaKernels};

/// Arguments in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    positional: Vec<OwnedValue>,
    keyword: Vec<(String, OwnedValue)>,
}

impl Call {
    pub(crate) fn with(mut self, value: impl Into<Given>) -> Call {
        self.positional.push(value.into().0);
        self
    }

    pub(crate) fn named(mut self, name: &str, value: impl Into<Given>) -> Call {
        self.keyword.push((name.to_owned(), value.into().0));
        self
    }

    pub(crate) fn arguments(&self) -> Arguments {
        Arguments { positional: self.positional.clone(), keyword: self.keyword.clone() }
    }

    /// Has the device answer.
    pub(crate) fn on_cuda(&self, device: &CudaDevice, function: &str) -> Result<OwnedValue, ExecError> {
        self.on(&mut CudaKernels::new(device.clone()).into_executor(), function).map(|(result, _)| result)
    }

    fn on(&self, executor: &mut dyn Executor, function: &str) -> Result<(OwnedValue, Arguments), ExecError> {
        let mut arguments = self.arguments();
        let result = executor.call(&name(function), &mut arguments)?;
        Ok((result, arguments))
    }

    /// Has both answer, and compares results and written arguments.
    pub(crate) fn check(&self, device: &CudaDevice, function: &str) {
        let mut cuda = CudaKernels::new(device.clone()).into_executor();
        let (expected, cpu_arguments) = self.on(&mut CpuExecutor, function).unwrap();
        let (actual, cuda_arguments) = self
            .on(&mut cuda, function)
            .unwrap_or_else(|error| panic!("{function} {self:?}: {}", callbox::core::error::chain(&error)));
        let what = format!("{function} of {self:?}");
        check_close(&actual, &expected, &what);
        for (actual, expected) in cuda_arguments.positional.iter().zip(&cpu_arguments.positional) {
            check_close(actual, expected, &what);
        }
        for ((_, actual), (_, expected)) in cuda_arguments.keyword.iter().zip(&cpu_arguments.keyword) {
            check_close(actual, expected, &what);
        }
    }
}

pub(crate) fn name(function: &str) -> FunctionName {
    FunctionName::new("flashinfer", function)
}

/// What a call is given.
#[derive(Debug)]
pub(crate) struct Given(OwnedValue);

impl From<&TensorBuf> for Given {
    fn from(tensor: &TensorBuf) -> Given {
        Given(Value::Tensor(tensor.clone()))
    }
}

impl From<OwnedValue> for Given {
    fn from(value: OwnedValue) -> Given {
        Given(value)
    }
}

macro_rules! given {
    ($($type:ty => |$value:ident| $made:expr),+ $(,)?) => {$(
        impl From<$type> for Given {
            fn from($value: $type) -> Given {
                Given($made)
            }
        }
    )+};
}

given! {
    f32 => |value| Value::Float(f64::from(value)),
    i64 => |value| Value::int(value),
    usize => |value| Value::int(value as i64),
    bool => |value| Value::Bool(value),
    &str => |value| Value::text(value),
    DType => |value| Value::dtype(value),
}

/// A row-major tensor of numbers between -3 and 3.
pub(crate) fn random(dtype: DType, shape: &[usize], seed: u64) -> TensorBuf {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut value = || {
        // The multiplier of Knuth's MMIX; its high bits are good.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 32) as f32 / u32::MAX as f32 - 0.5) * 6.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| value()).collect();
    TensorBuf::from_f32(dtype, shape, &values).unwrap()
}

/// An int32 tensor of one dimension.
pub(crate) fn ints(values: &[i32]) -> TensorBuf {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorBuf::from_elements(DType::Int32, &[values.len()], bytes).unwrap()
}

/// The same elements behind an offset, at twice the distance in one dimension; or with the last two stored the other
/// way round; or as the negatives of what is stored.
pub(crate) fn elsewhere(tensor: &TensorBuf) -> Vec<TensorBuf> {
    let shape = tensor.shape();
    let row_major = |order: &[usize], factor: usize| {
        let mut strides = vec![0; shape.len()];
        let mut stride = 1;
        for &dim in order {
            strides[dim] = stride;
            stride *= shape[dim].max(1) * if dim + 1 == shape.len() { factor } else { 1 };
        }
        strides
    };
    let plain: Vec<_> = (0..shape.len()).rev().collect();
    let mut turned = plain.clone();
    if turned.len() > 1 {
        turned.swap(0, 1);
    }
    let spaced = laid(tensor, &row_major(&plain, 2), 3);
    let turned = laid(tensor, &row_major(&turned, 1), 0);
    let negated: Vec<f32> = tensor.to_f32().unwrap().iter().map(|x| -x).collect();
    let flags = callbox::core::tensor::Flags { neg: true, ..Default::default() };
    let negated = TensorBuf::from_f32(tensor.dtype(), shape, &negated).unwrap().with_flags(flags);
    vec![spaced, turned, negated]
}

fn laid(tensor: &TensorBuf, strides: &[usize], offset: usize) -> TensorBuf {
    let layout = Layout::new(tensor.shape(), strides, offset).unwrap();
    let storage = vec![0xff; layout.end() * tensor.dtype().item_size()];
    let mut laid = TensorBuf::new(tensor.dtype(), layout, storage.into()).unwrap();
    laid.write_elements(&tensor.to_bytes()).unwrap();
    laid
}

/// Checks that values are the CPU's but for the order of sums, and the last places of exp, sin and the like.
#[track_caller]
pub(crate) fn check_close(actual: &OwnedValue, expected: &OwnedValue, what: &str) {
    match (actual, expected) {
        (Value::Tensor(actual), Value::Tensor(expected)) => check_tensors(actual, expected, what),
        (Value::Tuple { items: actual, .. }, Value::Tuple { items: expected, .. }) => {
            assert_eq!(actual.len(), expected.len(), "{what}");
            actual.iter().zip(expected).for_each(|(actual, expected)| check_close(actual, expected, what));
        }
        (actual, expected) => assert_eq!(format!("{actual:?}"), format!("{expected:?}"), "{what}"),
    }
}

#[track_caller]
fn check_tensors(actual: &TensorBuf, expected: &TensorBuf, what: &str) {
    assert_eq!((actual.dtype(), actual.layout()), (expected.dtype(), expected.layout()), "{what}");
    // Both are rounded once, and may be neighbours in their dtype; of what was computed before little may be off.
    let (unit, slack) = match expected.dtype() {
        DType::Float32 => (0.0, 2e-5),
        DType::Float16 => (1.0 / 1024.0, 2e-5),
        DType::BFloat16 => (1.0 / 128.0, 2e-5),
        DType::Float8E4M3Fn => (1.0 / 8.0, 1e-2),
        DType::Float8E5M2 => (1.0 / 4.0, 1e-2),
        _ => return assert_eq!(actual.to_bytes(), expected.to_bytes(), "{what}"),
    };
    let (actual, expected) = (actual.to_f64().unwrap(), expected.to_f64().unwrap());
    let finite = expected.iter().filter(|value| value.is_finite());
    let largest = finite.fold(0.0, |largest: f64, value| largest.max(value.abs()));
    for (place, (&actual, &expected)) in actual.iter().zip(&expected).enumerate() {
        let allowed = unit * expected.abs() + slack * largest;
        let agrees = actual == expected
            || (actual.is_nan() && expected.is_nan())
            || (actual - expected).abs() <= allowed;
        assert!(
            agrees,
            "{what}: element {place} is {actual}, the CPU has {expected}, allowed are {allowed:e}"
        );
    }
}
