//! A small transformer block, written as candle's users write one: free functions over tensors.
//!
//! Sizes: `x` is `[tokens, WIDTH]`; there are `HEADS` heads of `WIDTH / HEADS`; the feed-forward part is
//! `HIDDEN` wide.

use candle_core::{D, DType, Device, Result, Tensor};

pub(crate) const WIDTH: usize = 16;
pub(crate) const HEADS: usize = 2;
pub(crate) const HIDDEN: usize = 24;

/// The weights of a block; matrices are `[out, in]`.
pub(crate) struct Block {
    pub(crate) attention_norm: Tensor,
    /// Query, key and value weights in one, `[3 * WIDTH, WIDTH]`.
    pub(crate) qkv: Tensor,
    pub(crate) output: Tensor,
    pub(crate) mlp_norm: Tensor,
    pub(crate) gate: Tensor,
    pub(crate) up: Tensor,
    pub(crate) down: Tensor,
}

impl Block {
    /// Fills the weights with small numbers that look random and are the same each time.
    pub(crate) fn new(dtype: DType) -> Result<Block> {
        let weight = |seed, shape: &[usize]| numbers(seed, shape)?.to_dtype(dtype);
        Ok(Block {
            attention_norm: weight(1, &[WIDTH])?,
            qkv: weight(2, &[3 * WIDTH, WIDTH])?,
            output: weight(3, &[WIDTH, WIDTH])?,
            mlp_norm: weight(4, &[WIDTH])?,
            gate: weight(5, &[HIDDEN, WIDTH])?,
            up: weight(6, &[HIDDEN, WIDTH])?,
            down: weight(7, &[WIDTH, HIDDEN])?,
        })
    }

    /// Runs the block; `see` is shown every tensor on the way with its name.
    pub(crate) fn forward(&self, x: &Tensor, see: &mut dyn FnMut(&str, &Tensor)) -> Result<Tensor> {
        let normed = rms_norm(x, &self.attention_norm, 1e-5)?;
        see("normed", &normed);
        let [q, k, v] = split_heads(&linear(&normed, &self.qkv)?)?;
        for (name, tensor) in [("q", &q), ("k", &k), ("v", &v)] {
            see(name, tensor);
        }
        let attended = attention(&q, &k, &v, true)?;
        see("attended", &attended);
        let merged = attended.transpose(0, 1)?;
        see("merged", &merged);
        let x = (x + linear(&merged.flatten_from(1)?, &self.output)?)?;
        see("residual", &x);
        let fed = mlp(&rms_norm(&x, &self.mlp_norm, 1e-5)?, &self.gate, &self.up, &self.down)?;
        see("fed", &fed);
        x + fed
    }
}

/// Numbers between -0.5 and 0.5.
pub(crate) fn numbers(seed: u32, shape: &[usize]) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    Tensor::from_vec((0..shape.iter().product()).map(next).collect::<Vec<f32>>(), shape, &Device::Cpu)
}

/// Scales each row to a root mean square of one, then by the weight; `x` is `[.., width]`.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    let mean_square = wide.sqr()?.mean_keepdim(D::Minus1)?;
    let scaled = wide.broadcast_div(&(mean_square + eps)?.sqrt()?)?;
    scaled.to_dtype(x.dtype())?.broadcast_mul(weight)
}

/// Multiplies `[rows, in]` by a transposed `[out, in]`, with sums in f32.
pub(crate) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let product = x.to_dtype(DType::F32)?.matmul(&weight.to_dtype(DType::F32)?.t()?)?;
    product.to_dtype(x.dtype())
}

/// Cuts `[tokens, 3 * WIDTH]` into query, key and value, `[heads, tokens, head width]` each: views of one storage.
pub(crate) fn split_heads(qkv: &Tensor) -> Result<[Tensor; 3]> {
    let parts = qkv.reshape((qkv.dim(0)?, 3, HEADS, WIDTH / HEADS))?;
    let part = |number| parts.narrow(1, number, 1)?.squeeze(1)?.transpose(0, 1);
    Ok([part(0)?, part(1)?, part(2)?])
}

/// Attends, `[heads, tokens, head width]` each, softmax in f32.
pub(crate) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    let [q32, k32, v32] = [q, k, v].map(|tensor| tensor.to_dtype(DType::F32)?.contiguous());
    let tokens = q.dim(1)?;
    let scale = 1.0 / (q.dim(2)? as f64).sqrt();
    let mut scores = (q32?.matmul(&k32?.transpose(1, 2)?)? * scale)?;
    if causal {
        let hidden = |(row, column)| if column > row { f32::NEG_INFINITY } else { 0.0 };
        let mask: Vec<f32> =
            (0..tokens).flat_map(|row| (0..tokens).map(move |column| hidden((row, column)))).collect();
        scores = scores.broadcast_add(&Tensor::from_vec(mask, (tokens, tokens), q.device())?)?;
    }
    let exponentials = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    let weights = exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)?;
    weights.matmul(&v32?)?.to_dtype(q.dtype())
}

/// Feeds `[tokens, WIDTH]` through a gated layer with SiLU.
pub(crate) fn mlp(x: &Tensor, gate: &Tensor, up: &Tensor, down: &Tensor) -> Result<Tensor> {
    linear(&(linear(x, gate)?.silu()? * linear(x, up)?)?, down)
}
