//! What the tests have in common: random tensors, calls of the reference, launches, comparing.

use callbox_core::{Arguments, DType, Executor, FunctionName, Layout, OwnedValue, TensorBuf, Value};
use callbox_cuda_tests::{Argument, Launch, Memory, emulated};
use callbox_kernels_cpu::CpuExecutor;

/// Float types that results are rounded to, and how the kernels' names end.
pub(crate) const FLOATS: [(DType, &str); 3] =
    [(DType::Float16, "f16"), (DType::BFloat16, "bf16"), (DType::Float32, "f32")];

/// The number of a dtype that a kernel is told when it runs: `Type` in `types.cuh`.
pub(crate) fn type_code(dtype: DType) -> u32 {
    match dtype {
        DType::Float32 => 0,
        DType::Float16 => 1,
        DType::BFloat16 => 2,
        DType::Float8E4M3Fn => 3,
        DType::Float8E5M2 => 4,
        other => panic!("kernels have no {other}"),
    }
}

/// A generator of numbers that follow from a seed: the multiplier of Knuth's MMIX, of which the high bits are good.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.bits() as usize % end
    }

    /// A number between -3 and 3.
    pub(crate) fn value(&mut self) -> f32 {
        (self.bits() as f32 / u32::MAX as f32 - 0.5) * 6.0
    }
}

/// Builds a row-major tensor of numbers between -3 and 3.
pub(crate) fn random(dtype: DType, shape: &[usize], seed: u64) -> TensorBuf {
    let mut numbers = Numbers::new(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| numbers.value()).collect();
    TensorBuf::from_f32(dtype, shape, &values).unwrap()
}

/// Builds the same tensor over a storage in which rows of the last dimension have a gap of `gap` elements behind them.
pub(crate) fn spaced(tensor: &TensorBuf, gap: usize) -> TensorBuf {
    let mut strides = vec![1; tensor.shape().len()];
    for dim in (0..strides.len() - 1).rev() {
        let gap = if dim + 2 == strides.len() { gap } else { 0 };
        strides[dim] = strides[dim + 1] * tensor.shape()[dim + 1] + gap;
    }
    let layout = Layout::new(tensor.shape(), &strides, 0).unwrap();
    let storage = vec![0xff; layout.end() * tensor.dtype().item_size()];
    let mut spaced = TensorBuf::new(tensor.dtype(), layout, storage.into()).unwrap();
    spaced.write_elements(&tensor.to_bytes()).unwrap();
    spaced
}

/// Builds an int32 tensor of one dimension.
pub(crate) fn ints(values: &[i32]) -> TensorBuf {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorBuf::from_elements(DType::Int32, &[values.len()], bytes).unwrap()
}

/// A call of the reference in the making.
#[derive(Debug, Default)]
pub(crate) struct Call(Arguments);

impl Call {
    /// Appends an argument by position.
    pub(crate) fn with(mut self, value: impl Into<Given>) -> Call {
        self.0.positional.push(value.into().0);
        self
    }

    /// Appends an argument by name.
    pub(crate) fn named(mut self, name: &str, value: impl Into<Given>) -> Call {
        self.0.keyword.push((name.to_owned(), value.into().0));
        self
    }

    /// Calls a function of FlashInfer on the CPU; returns the tensors of its result.
    pub(crate) fn of(mut self, function: &str) -> Vec<TensorBuf> {
        tensors(CpuExecutor.call(&FunctionName::new("flashinfer", function), &mut self.0).unwrap())
    }

    /// Calls a function that returns None; returns the tensors among its arguments, as it leaves them.
    pub(crate) fn in_place(mut self, function: &str) -> Vec<TensorBuf> {
        let returned = CpuExecutor.call(&FunctionName::new("flashinfer", function), &mut self.0).unwrap();
        assert_eq!(returned.type_name(), "None");
        self.0.positional.into_iter().flat_map(tensors).collect()
    }

    /// Gives the arguments up, for a method or a constructor.
    pub(crate) fn into_arguments(self) -> Arguments {
        self.0
    }
}

/// Returns the tensors of a result, which holds nothing else.
pub(crate) fn tensors(value: OwnedValue) -> Vec<TensorBuf> {
    match value {
        Value::Tensor(tensor) => vec![tensor],
        Value::Tuple { items, .. } => items.into_iter().flat_map(tensors).collect(),
        other => panic!("{other:?}"),
    }
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

impl From<f32> for Given {
    fn from(value: f32) -> Given {
        Given(Value::Float(f64::from(value)))
    }
}

impl From<i64> for Given {
    fn from(value: i64) -> Given {
        Given(Value::int(value))
    }
}

impl From<usize> for Given {
    fn from(value: usize) -> Given {
        Given(Value::int(value as i64))
    }
}

impl From<bool> for Given {
    fn from(value: bool) -> Given {
        Given(Value::Bool(value))
    }
}

impl From<&str> for Given {
    fn from(value: &str) -> Given {
        Given(Value::text(value))
    }
}

impl From<DType> for Given {
    fn from(value: DType) -> Given {
        Given(Value::dtype(value))
    }
}

/// Puts a tensor's storage where kernels reach it.
pub(crate) fn upload(tensor: &TensorBuf) -> Memory {
    Memory::new(tensor.storage())
}

/// Reads a row-major tensor back.
pub(crate) fn download(memory: &Memory, dtype: DType, shape: &[usize]) -> TensorBuf {
    TensorBuf::from_elements(dtype, shape, memory.to_bytes()).unwrap()
}

/// Runs a kernel, which must succeed.
#[track_caller]
pub(crate) fn launch(kernel: &str, launch: Launch, arguments: &[Argument<'_>]) {
    if let Err(message) = emulated().launch(kernel, launch, arguments) {
        panic!("{message}");
    }
}

/// Checks that results are the reference's but for the order of sums, and the last places of exp, sin and the like.
///
/// Both are rounded once, so they may be neighbours in their dtype. `slack` is what f32 arithmetic may be off by before,
/// as a share of the largest element.
#[track_caller]
pub(crate) fn check_close(actual: &TensorBuf, expected: &TensorBuf, slack: f64, what: &str) {
    assert_eq!((actual.dtype(), actual.shape()), (expected.dtype(), expected.shape()), "{what}");
    let unit = match expected.dtype() {
        DType::Float32 => 0.0,
        DType::Float16 => 1.0 / 1024.0,
        DType::BFloat16 => 1.0 / 128.0,
        other => panic!("no bound for {other}"),
    };
    let (actual, expected) = (actual.to_f64().unwrap(), expected.to_f64().unwrap());
    let finite = expected.iter().filter(|value| value.is_finite());
    let largest = finite.fold(0.0, |largest: f64, value| largest.max(value.abs()));
    for (place, (&actual, &expected)) in actual.iter().zip(&expected).enumerate() {
        if actual == expected || (actual.is_nan() && expected.is_nan()) {
            continue;
        }
        let allowed = unit * expected.abs() + slack * largest;
        assert!(
            (actual - expected).abs() <= allowed,
            "{what}: element {place} is {actual}, the reference has {expected}, allowed are {allowed:e}"
        );
    }
}
