//! The engine's functions. Each has one attribute more than it had without a recorder.

use callbox::ObjectId;

use crate::tensor::{ShapeError, Tensor};

/// Scales each row of `x` to a root mean square of one, then by `weight`, a single row.
#[callbox::record(replay, kwargs(eps))]
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor, ShapeError> {
    let (rows, columns) = x.shape();
    if weight.shape() != (1, columns) {
        return Err(ShapeError(format!("weight is {:?}, expected (1, {columns})", weight.shape())));
    }
    let mut elements = Vec::with_capacity(rows * columns);
    for row in x.rows() {
        let mean = row.iter().map(|x| x * x).sum::<f32>() / columns as f32;
        let scale = (mean + eps).sqrt().recip();
        elements.extend(row.iter().zip(weight.elements()).map(|(x, weight)| x * scale * weight));
    }
    Tensor::new(rows, columns, elements)
}

/// Multiplies `a`, of shape `[m, k]`, by `b`, of shape `[k, n]`, into `out`, of shape `[m, n]`.
#[callbox::record(replay)]
pub fn matmul(a: &Tensor, b: &Tensor, out: &mut Tensor) -> Result<(), ShapeError> {
    let ((m, k), (b_rows, n)) = (a.shape(), b.shape());
    if k != b_rows || out.shape() != (m, n) {
        return Err(ShapeError(format!(
            "{:?} x {:?} does not go into {:?}",
            a.shape(),
            b.shape(),
            out.shape()
        )));
    }
    let rows = out.elements_mut().chunks_mut(n.max(1)).zip(a.rows());
    for (out, a) in rows {
        out.fill(0.0);
        for (a, b) in a.iter().zip(b.rows()) {
            out.iter_mut().zip(b).for_each(|(out, b)| *out += a * b);
        }
    }
    Ok(())
}

/// A decoder of one layer with a running state.
#[derive(Clone, Debug)]
pub struct Decoder {
    id: ObjectId,
    norm: Tensor,
    weight: Tensor,
    /// Sum of all that went through, `[1, width]`.
    state: Tensor,
}

#[callbox::record(replay, id = id)]
impl Decoder {
    /// Takes the weight of its norm, `[1, width]`, and of its layer, `[width, width]`.
    pub fn new(norm: Tensor, weight: Tensor) -> Result<Decoder, ShapeError> {
        let width = norm.shape().1;
        if norm.shape() != (1, width) || weight.shape() != (width, width) {
            return Err(ShapeError(format!("{:?} and {:?} make no layer", norm.shape(), weight.shape())));
        }
        let state = Tensor::new(1, width, vec![0.0; width])?;
        Ok(Decoder { id: ObjectId::of::<Decoder>(), norm, weight, state })
    }

    /// Decodes one step: `x` is `[1, width]`, and so is what comes back.
    pub fn step(&mut self, x: &Tensor) -> Result<Tensor, ShapeError> {
        let normed = rms_norm(x, &self.norm, 1e-6)?;
        let mut out = self.state.clone();
        matmul(&normed, &self.weight, &mut out)?;
        for (state, out) in self.state.elements_mut().iter_mut().zip(out.elements_mut()) {
            *state += *out;
            *out = *state;
        }
        Ok(out)
    }
}
