//! Results: rounded once by the kernel, to the dtype of `out` where the caller gave one, and put into it.

use callbox_core::elements::ElementError;
use callbox_core::tensor::Flags;
use callbox_core::{Bound, DType, DTypeKind, ExecError, Layout, OwnedValue, TensorBuf, Value};

use crate::operand;

/// Where a result goes, which says what a kernel has to round it to.
///
/// Whether it fits is settled before the kernel runs: no device is asked for what cannot be kept.
#[derive(Debug)]
pub(crate) struct Target {
    /// The argument that the result is put into; `None`: the result is a tensor of its own.
    argument: Option<&'static str>,
    dtype: DType,
    shape: Vec<usize>,
}

impl Target {
    /// Looks at the argument `out`; without it the result is a tensor of `dtype`.
    ///
    /// `out` keeps its dtype and strides and must have the result's shape.
    pub(crate) fn read(
        arguments: &Bound<'_>,
        out: &'static str,
        dtype: DType,
        shape: &[usize],
    ) -> Result<Target, ExecError> {
        let Some(tensor) = arguments.optional_tensor(out)? else {
            return Target::new(dtype, shape);
        };
        if tensor.shape() != shape {
            return Err(operand::wrong_shape(out, tensor.shape(), format!("{shape:?}")));
        }
        check_rounds(out, tensor.dtype(), shape)?;
        Ok(Target { argument: Some(out), dtype: tensor.dtype(), shape: shape.to_vec() })
    }

    /// Makes the result a tensor of its own.
    pub(crate) fn new(dtype: DType, shape: &[usize]) -> Result<Target, ExecError> {
        check_rounds("result", dtype, shape)?;
        Ok(Target { argument: None, dtype, shape: shape.to_vec() })
    }

    /// Returns the dtype that the result is rounded to.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Puts a kernel's result where it belongs; returns what the function returns.
    pub(crate) fn finish(
        self,
        arguments: &mut Bound<'_>,
        result: TensorBuf,
    ) -> Result<OwnedValue, ExecError> {
        let result = checked(result, self.dtype, &self.shape)?;
        let Some(out) = self.argument else {
            return Ok(Value::Tensor(result));
        };
        write(arguments, out, &result)?;
        Ok(Value::Tensor(arguments.tensor(out)?.clone()))
    }
}

/// Puts a kernel's result into an argument, which keeps its shape, strides and dtype.
pub(crate) fn overwrite(arguments: &mut Bound<'_>, name: &str, result: TensorBuf) -> Result<(), ExecError> {
    let tensor = arguments.tensor(name)?;
    let result = checked(result, tensor.dtype(), tensor.shape())?;
    write(arguments, name, &result)
}

/// Fails unless a kernel gave what it was asked for: a contiguous tensor that fills its storage.
pub(crate) fn checked(result: TensorBuf, dtype: DType, shape: &[usize]) -> Result<TensorBuf, ExecError> {
    let fills = result.storage().len() == result.numel() * dtype.item_size()
        && result.layout().is_contiguous()
        && result.flags() == Flags::default();
    if result.dtype() == dtype && result.shape() == shape && fills {
        return Ok(result);
    }
    let message =
        format!("its kernel returned {result:?} where contiguous {shape:?} of {dtype} was asked for");
    Err(ExecError::Device(message.into()))
}

fn write(arguments: &mut Bound<'_>, name: &str, result: &TensorBuf) -> Result<(), ExecError> {
    let written = arguments.tensor_mut(name)?.write_elements(result.storage());
    written.map_err(|source| ExecError::Elements { argument: name.to_owned(), source })
}

/// Fails where numbers cannot be rounded to a tensor of this dtype and shape.
pub(crate) fn check_rounds(argument: &str, dtype: DType, shape: &[usize]) -> Result<(), ExecError> {
    let numel = shape.iter().copied().fold(1, usize::saturating_mul);
    let source = match TensorBuf::from_f32(dtype, &[0], &[]) {
        // Two numbers share an element: they do not fill a tensor with an element for each.
        Ok(_) if dtype.kind() == DTypeKind::PackedFloat && numel > 1 => {
            ElementError::Count { values: numel.div_ceil(2), numel }
        }
        Ok(_) => return Ok(()),
        Err(source) => source,
    };
    Err(ExecError::Elements { argument: argument.to_owned(), source })
}

/// Rounds row-major f32 values once to a new tensor, where no kernel is needed for it.
pub(crate) fn rounded(dtype: DType, shape: &[usize], values: &[f32]) -> Result<TensorBuf, ExecError> {
    TensorBuf::from_f32(dtype, shape, values)
        .map_err(|source| ExecError::Elements { argument: "result".to_owned(), source })
}

/// Gives a contiguous tensor other sizes of the same product.
pub(crate) fn reshaped(tensor: &TensorBuf, shape: &[usize]) -> TensorBuf {
    Layout::contiguous(shape)
        .and_then(|layout| tensor.with_layout(layout))
        .expect("a reshaped tensor has the same elements")
}
