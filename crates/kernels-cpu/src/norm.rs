//! Normalisation over the last dimension.

use callbox_core::{Bound, ExecError, OwnedValue};

use crate::output;

/// `out = x / sqrt(mean(x^2) + eps) * weight` (Zhang and Sennrich, "Root Mean Square Layer Normalization",
/// 2019).
///
/// `input` `[..., d]`, `weight` `[d]`; the result has the shape and dtype of `input`.
pub(crate) fn rmsnorm(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let input = arguments.tensor("input")?;
    let (shape, dtype) = (input.shape().to_vec(), input.dtype());
    let width = shape.last().copied().unwrap_or(1);
    let weight = arguments.f32s("weight")?;
    if weight.len() != width {
        return Err(ExecError::ArgumentShape {
            argument: "weight".to_owned(),
            shape: arguments.tensor("weight")?.shape().to_vec(),
            expected: format!("[{width}], the last dimension of `input`"),
        });
    }
    let eps = arguments.float("eps")?;
    let mut values = arguments.f32s("input")?;
    for row in values.chunks_mut(width.max(1)) {
        let mean_square = row.iter().map(|x| x * x).sum::<f32>() / width as f32;
        let scale = 1.0 / (mean_square + eps).sqrt();
        row.iter_mut().zip(&weight).for_each(|(x, w)| *x = *x * scale * w);
    }
    output::finish(arguments, "out", dtype, &shape, &values)
}
