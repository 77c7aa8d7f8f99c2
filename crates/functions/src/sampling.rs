//! Probabilities before sampling: softmax, and keeping only the likely tokens.
//!
//! Logits and probabilities are `[batch, vocab]` of any float; each row is on its own. Everything is computed in
//! f32 and rounded once, to nearest with ties to even.
//!
//! Shapes and defaults are those of FlashInfer's documentation, page `flashinfer.sampling`;
//! top-k is from Fan, Lewis and Dauphin, "Hierarchical Neural Story Generation" (2018), top-p (nucleus sampling)
//! from Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020).

use callbox_core::{Bound, Contract, DType, ExecError, OwnedValue, ResultRule, TensorBuf, Value};

use crate::factors::Factors;
use crate::kernels::{Kernel, Kernels};
use crate::operand;
use crate::output::Target;
use crate::rows::Rows;
use crate::table::Function;

/// `e^(x - max) / sum e^(x - max)` with `x = logits / temperature`, row by row.
///
/// A temperature of zero makes every finite logit zero, which gives equal probabilities.
#[derive(Debug)]
#[non_exhaustive]
pub struct Softmax<'a> {
    /// Floats `[batch, vocab]`.
    pub logits: &'a TensorBuf,
    /// Elements of a row.
    pub vocab: usize,
    /// One for each row.
    pub temperature: Factors<'a>,
    /// What the result `[batch, vocab]` is rounded to.
    pub dtype: DType,
}

/// Dividing what is kept of each row by its sum; the rest becomes 0.
///
/// A sum below 1e-8 counts as 1e-8, so that a row of zeros stays zero.
#[derive(Debug)]
#[non_exhaustive]
pub struct Renormalise<'a> {
    /// Floats `[batch, vocab]`.
    pub probs: &'a TensorBuf,
    /// Elements of a row.
    pub vocab: usize,
    /// What is kept.
    pub kept: Kept<'a>,
    /// What the result `[batch, vocab]` is rounded to.
    pub dtype: DType,
}

/// What is kept of the rows of probabilities.
#[derive(Clone, Copy, Debug)]
pub enum Kept<'a> {
    /// The `k` largest of each row (Fan et al., 2018).
    TopK(&'a TopK),
    /// The largest of each row until their sum reaches `p` (Holtzman et al., 2020), and all from 1 on. What crosses
    /// `p` stays, with all that are equal to it.
    ///
    /// The sum runs in f64 and is compared in f32: over a long row a sum in f32 drifts by more than the smallest
    /// probabilities, and an f64 comparison would tell sums apart that are equal as far as `p` can say.
    TopP(Factors<'a>),
}

/// How many of each row to keep, at least one; all values equal to the smallest kept one stay too.
#[derive(Clone, Debug)]
pub enum TopK {
    /// The same for all rows.
    Same(usize),
    /// One for each row.
    Each(Vec<usize>),
}

impl TopK {
    /// Returns how many of a row to keep; it may be more than there are.
    pub fn of(&self, row: usize) -> usize {
        match self {
            TopK::Same(k) => *k,
            TopK::Each(each) => each[row],
        }
    }
}

/// Keeping the largest logits of each row unchanged (Fan et al., 2018); the others become -inf.
#[derive(Debug)]
#[non_exhaustive]
pub struct MaskLogits<'a> {
    /// Floats `[batch, vocab]`.
    pub logits: &'a TensorBuf,
    /// Elements of a row.
    pub vocab: usize,
    /// How many stay.
    pub top_k: &'a TopK,
    /// What the result `[batch, vocab]` is rounded to.
    pub dtype: DType,
}

const VALUES: Contract = Contract { writes: &[], results: &[ResultRule::Values] };

pub(crate) const ROWS: &[Function] = &[
    Function::new(Kernel::Softmax, VALUES, "softmax", "logits, temperature=None, enable_pdl=None", softmax),
    Function::new(
        Kernel::Renormalise,
        VALUES,
        "top_k_renorm_probs",
        "probs, top_k, is_deterministic=False",
        top_k_renorm_probs,
    ),
    Function::new(Kernel::MaskLogits, VALUES, "top_k_mask_logits", "logits, top_k", top_k_mask_logits),
    Function::new(
        Kernel::Renormalise,
        VALUES,
        "top_p_renorm_probs",
        "probs, top_p, is_deterministic=False",
        top_p_renorm_probs,
    ),
];

/// [`Softmax`] of `logits` `[batch, vocab]`; `temperature` is None (1), a number or `[batch]`.
///
/// The result is `[batch, vocab]` in f32 for every dtype of `logits`, so nothing is rounded at the end. Source:
/// FlashInfer's documentation, `flashinfer.sampling.softmax`.
fn softmax(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let (logits, [batch, vocab]) = read(arguments, "logits")?;
    let temperature = match arguments.value("temperature") {
        Value::None => Factors::Same(1.0),
        _ => operand::per_row(arguments, "temperature", batch)?,
    };
    let target = Target::new(DType::Float32, &[batch, vocab])?;
    let problem = Softmax { logits, vocab, temperature, dtype: target.dtype() };
    let probs = kernels.softmax(&problem)?;
    target.finish(arguments, probs)
}

/// [`Renormalise`] of the `top_k` largest of each row.
///
/// `probs` is `[batch, vocab]`; `top_k` is an integer or integers `[batch]`, at least 1; from `vocab` on
/// everything stays. The result has the shape and dtype of `probs`. Source: FlashInfer's documentation,
/// `flashinfer.sampling.top_k_renorm_probs`.
fn top_k_renorm_probs(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let (probs, [batch, vocab]) = read(arguments, "probs")?;
    let top_k = TopK::read(arguments, batch)?;
    let target = Target::new(probs.dtype(), &[batch, vocab])?;
    let problem = Renormalise { probs, vocab, kept: Kept::TopK(&top_k), dtype: target.dtype() };
    let renormalised = kernels.renormalise(&problem)?;
    target.finish(arguments, renormalised)
}

/// [`MaskLogits`] of `logits` `[batch, vocab]`; `top_k` as [`top_k_renorm_probs`] has it.
///
/// The result has the shape and dtype of `logits`. Source: FlashInfer's documentation,
/// `flashinfer.sampling.top_k_mask_logits`.
fn top_k_mask_logits(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let (logits, [batch, vocab]) = read(arguments, "logits")?;
    let top_k = TopK::read(arguments, batch)?;
    let target = Target::new(logits.dtype(), &[batch, vocab])?;
    let problem = MaskLogits { logits, vocab, top_k: &top_k, dtype: target.dtype() };
    let masked = kernels.mask_logits(&problem)?;
    target.finish(arguments, masked)
}

/// [`Renormalise`] of the largest probabilities of each row until their sum reaches `top_p`.
///
/// `probs` is `[batch, vocab]`; `top_p` is a number or `[batch]`; from 1 on everything stays. The result has the
/// shape of `probs` and is f32, whatever their dtype: FlashInfer converts them before its kernel runs. Source:
/// FlashInfer's documentation, `flashinfer.sampling.top_p_renorm_probs`.
fn top_p_renorm_probs(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let (probs, [batch, vocab]) = read(arguments, "probs")?;
    let top_p = operand::per_row(arguments, "top_p", batch)?;
    let target = Target::new(DType::Float32, &[batch, vocab])?;
    let problem = Renormalise { probs, vocab, kept: Kept::TopP(top_p), dtype: target.dtype() };
    let renormalised = kernels.renormalise(&problem)?;
    target.finish(arguments, renormalised)
}

fn read<'a>(arguments: &'a Bound<'_>, name: &'static str) -> Result<(&'a TensorBuf, [usize; 2]), ExecError> {
    let sizes = operand::sizes(arguments, name, "[batch, vocab]")?;
    Ok((Rows::read(arguments, name)?.tensor, sizes))
}

impl TopK {
    fn read(arguments: &Bound<'_>, rows: usize) -> Result<TopK, ExecError> {
        let at_least_one = |k: i64| match usize::try_from(k) {
            Ok(k) if k > 0 => Ok(k),
            _ => Err(operand::wrong_value("top_k", k, "at least one token must stay")),
        };
        match arguments.value("top_k") {
            Value::Tensor(tensor) if tensor.numel() != 1 => {
                let each = operand::integers_of(arguments, "top_k", &[rows], "one integer for each row")?;
                // The smallest is the one that is named.
                each.iter().copied().min().map_or(Ok(1), at_least_one)?;
                each.into_iter().map(at_least_one).collect::<Result<_, _>>().map(TopK::Each)
            }
            _ => at_least_one(arguments.int("top_k")?).map(TopK::Same),
        }
    }
}
