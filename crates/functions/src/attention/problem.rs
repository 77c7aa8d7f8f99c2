//! One attention, described in full: what the functions and wrappers translate their arguments to.

use std::ops::Range;

use callbox_core::{DType, ExecError, TensorBuf};

use super::mask::{Bounds, MaskBits};
use super::options::{self, Options, PositionEncoding};
use super::scale::HeadScales;
use super::vectors::{Place, Vectors};
use crate::kernels::Kernels;
use crate::{operand, output};

/// Queries, keys and values that fit each other.
///
/// Invariants: a positive number of kv heads, and a multiple of it of query heads; vectors of at least one
/// element; as many of keys as of values, and queries as long as keys.
#[derive(Clone, Debug)]
pub struct Operands {
    queries: Vectors,
    keys: Vectors,
    values: Vectors,
}

impl Operands {
    pub(crate) fn new(queries: Vectors, keys: Vectors, values: Vectors) -> Result<Operands, ExecError> {
        let (qo_heads, kv_heads, width) = (queries.heads(), keys.heads(), queries.width());
        if width == 0 || qo_heads == 0 {
            return Err(queries.wrong_shape("at least one head of at least one element".to_owned()));
        }
        if keys.width() != width {
            return Err(keys.wrong_shape(format!("heads of {width} elements, as `{}`", queries.name())));
        }
        if kv_heads == 0 || !qo_heads.is_multiple_of(kv_heads) {
            return Err(keys.wrong_shape(format!(
                "a number of heads that divides the {qo_heads} of `{}`",
                queries.name()
            )));
        }
        let tokens = |vectors: &Vectors| [vectors.pages(), vectors.slots(), vectors.heads()];
        if tokens(&values) != tokens(&keys) || values.width() == 0 {
            let shape = keys.tensor().shape();
            return Err(values.wrong_shape(format!("tokens and heads as the keys, {shape:?}")));
        }
        Ok(Operands { queries, keys, values })
    }

    /// Returns the queries, the slots of one page.
    pub fn queries(&self) -> &Vectors {
        &self.queries
    }

    /// Returns the keys.
    pub fn keys(&self) -> &Vectors {
        &self.keys
    }

    /// Returns the values.
    pub fn values(&self) -> &Vectors {
        &self.values
    }

    /// Returns the number of query rows.
    pub fn rows(&self) -> usize {
        self.queries.slots()
    }

    /// Returns the number of query heads that share a kv head; they are neighbours.
    pub fn group(&self) -> usize {
        self.queries.heads() / self.keys.heads()
    }

    /// Returns the shape of the output: `[rows, qo_heads, d_vo]`.
    pub fn output_shape(&self) -> [usize; 3] {
        [self.rows(), self.queries.heads(), self.values.width()]
    }

    /// Fails where the output is out of proportion to the inputs.
    pub(crate) fn check_output(&self) -> Result<(), ExecError> {
        let inputs = [&self.queries, &self.keys, &self.values].map(|vectors| vectors.tensor().numel());
        let inputs = inputs.into_iter().fold(0, usize::saturating_add);
        operand::result_numel(&self.output_shape(), inputs).map(drop)
    }
}

/// Scaled dot-product attention (Vaswani et al., "Attention Is All You Need", 2017) of a batch of sequences.
///
/// `q` `[rows, qo_heads, d]`, `k` `[kv_len, kv_heads, d]`, `v` `[kv_len, kv_heads, d_vo]`; neighbouring query
/// heads share a kv head (Ainslie et al., "GQA", 2023). For query row `i` of `n` and key `j`, both of one
/// sequence, and each query head:
///
/// ```text
/// x[i,j] = dot(q[i], k[j]) * sm_scale * head_scales.q * head_scales.k
/// x[i,j] = x[i,j] + slope * (j - i)                  with PositionEncoding::Alibi
/// x[i,j] = cap * tanh(x[i,j] / cap)                  with a soft_cap
/// w[i,j] = exp(x[i,j]) where j is visible to i, else 0
/// o[i]   = sum_j w[i,j] * v[j] * v_scale * head_scales.v / (sum_j w[i,j] + exp(sink))
/// lse[i] = log2(sum_j w[i,j] + exp(sink))            exp(sink) only with sinks
/// ```
///
/// With [`PositionEncoding::RopeLlama`], `q[i]` and `k[j]` turn before the product. Query `i` stands at the place
/// of key `i + kv_len - n`. A key is visible that [`Bounds`] and the sequence's mask both show. One that is not
/// never reaches the result, not even where it is infinite or NaN; a row that sees nothing gives 0 and -inf.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attention<'a> {
    /// Queries, keys and values.
    pub operands: &'a Operands,
    /// The sequences, each with rows of its own. A row of no sequence sees nothing.
    pub sequences: Vec<Sequence<'a>>,
    /// The keys around its place that a query sees.
    pub bounds: Bounds,
    /// How places enter.
    pub encoding: PositionEncoding,
    /// Bends the logits.
    pub soft_cap: Option<f32>,
    /// Multiplies the products of queries and keys.
    pub sm_scale: f32,
    /// Floats `[qo_heads]`: one more logit for each query head, with a value of zero.
    pub sinks: Option<&'a TensorBuf>,
    /// Multiplies the values.
    pub v_scale: f32,
    /// Multiplies the heads of queries, keys and values.
    pub head_scales: HeadScales<'a>,
    /// What the output is rounded to.
    pub dtype: DType,
}

/// The answer to an [`Attention`].
#[derive(Clone, Debug)]
pub struct Attended {
    /// `[rows, qo_heads, d_vo]` in the dtype of the problem.
    pub output: TensorBuf,
    /// The log-sum-exp: float32 `[rows, qo_heads]`, of base 2.
    pub lse: TensorBuf,
}

impl<'a> Attention<'a> {
    /// Describes plain attention: without sinks, with no scale but that of the options, rounded to the dtype of
    /// the queries.
    pub(crate) fn new(
        operands: &'a Operands,
        options: &Options,
        bounds: Bounds,
        sequences: Vec<Sequence<'a>>,
    ) -> Attention<'a> {
        Attention {
            operands,
            sequences,
            bounds,
            encoding: options.encoding,
            soft_cap: options.soft_cap,
            sm_scale: options.sm_scale,
            sinks: None,
            v_scale: 1.0,
            head_scales: HeadScales::ONE,
            dtype: operands.queries().tensor().dtype(),
        }
    }

    /// Returns the slope of a query head with [`PositionEncoding::Alibi`] (Press et al., "Train Short, Test Long",
    /// 2022).
    pub fn alibi_slope(&self, head: usize) -> f32 {
        options::alibi_slope(head, self.operands.queries().heads())
    }

    /// Has the problem solved.
    pub(crate) fn solve(&self, kernels: &mut dyn Kernels) -> Result<Attended, ExecError> {
        let Attended { output, lse } = kernels.attend(self)?;
        let shape = self.operands.output_shape();
        Ok(Attended {
            output: output::checked(output, self.dtype, &shape)?,
            lse: output::checked(lse, DType::Float32, &shape[..2])?,
        })
    }
}

/// One sequence of a batch.
#[derive(Debug)]
pub struct Sequence<'a> {
    /// Its rows among the queries.
    pub rows: Range<usize>,
    /// Its keys and values.
    pub keys: Tokens<'a>,
    /// A bit for each row and key, beside the bounds.
    pub mask: Option<MaskBits<'a>>,
}

/// The keys and values of a sequence, in order.
#[derive(Clone, Copy, Debug)]
pub enum Tokens<'a> {
    /// Neighbours.
    Slots {
        /// Slot of the first.
        start: usize,
        /// Tokens.
        len: usize,
    },
    /// Pages in any order; all but the last are full.
    Pages {
        /// The pages, all of them in the cache.
        pages: &'a [usize],
        /// Tokens of a page.
        page_size: usize,
        /// Tokens of the sequence.
        len: usize,
    },
}

impl Tokens<'_> {
    /// Returns the number of tokens.
    pub fn count(&self) -> usize {
        match *self {
            Tokens::Slots { len, .. } | Tokens::Pages { len, .. } => len,
        }
    }

    /// Returns where a token lies, one of [`Tokens::count`].
    pub fn place(&self, token: usize) -> Place {
        match *self {
            Tokens::Slots { start, .. } => Place { page: 0, slot: start + token },
            Tokens::Pages { pages, page_size, .. } => {
                Place { page: pages[token / page_size], slot: token % page_size }
            }
        }
    }
}
