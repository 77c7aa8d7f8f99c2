//! One attention, described in full: what the functions and wrappers translate their arguments to.

use std::ops::Range;

use callbox_core::ExecError;

use super::mask::{Bits, Bounds};
use super::options::{Encoding, Options};
use super::scale::HeadScales;
use super::vectors::{Place, Vectors};
use crate::operand;

/// Queries, keys and values that fit each other.
///
/// Invariants: a positive number of kv heads, and a multiple of it of query heads; vectors of at least one
/// element; as many of keys as of values, and queries as long as keys.
#[derive(Clone, Debug)]
pub(crate) struct Operands {
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

    pub(crate) fn queries(&self) -> &Vectors {
        &self.queries
    }

    pub(crate) fn keys(&self) -> &Vectors {
        &self.keys
    }

    pub(crate) fn values(&self) -> &Vectors {
        &self.values
    }

    /// Returns the number of query rows.
    pub(crate) fn rows(&self) -> usize {
        self.queries.slots()
    }

    /// Returns the number of query heads that share a kv head; they are neighbours.
    pub(crate) fn group(&self) -> usize {
        self.queries.heads() / self.keys.heads()
    }

    /// Returns the shape of the output: `[rows, qo_heads, d_vo]`.
    pub(crate) fn output_shape(&self) -> [usize; 3] {
        [self.rows(), self.queries.heads(), self.values.width()]
    }

    /// Multiplies the sizes of the output; fails where it is out of proportion to the inputs.
    pub(crate) fn output_numel(&self) -> Result<usize, ExecError> {
        let inputs = [&self.queries, &self.keys, &self.values].map(|vectors| vectors.tensor().numel());
        operand::result_numel(&self.output_shape(), inputs.into_iter().fold(0, usize::saturating_add))
    }
}

/// Operands, and what is done with them; [`super::kernel::attend`] solves it.
#[derive(Debug)]
pub(crate) struct Problem<'a> {
    pub(crate) operands: &'a Operands,
    /// The sequences, each with rows of its own.
    pub(crate) sequences: Vec<Sequence<'a>>,
    /// The keys around its place that a query sees.
    pub(crate) bounds: Bounds,
    pub(crate) encoding: Encoding,
    pub(crate) soft_cap: Option<f32>,
    /// Multiplies the products of queries and keys.
    pub(crate) sm_scale: f32,
    /// One more logit for each query head, with a value of zero.
    pub(crate) sinks: Option<Vec<f32>>,
    /// Multiplies the values.
    pub(crate) v_scale: f32,
    /// Multiplies the heads of queries, keys and values.
    pub(crate) head_scales: HeadScales,
}

impl<'a> Problem<'a> {
    /// Describes plain attention: without sinks, and with no scale but that of the options.
    pub(crate) fn new(
        operands: &'a Operands,
        options: &Options,
        bounds: Bounds,
        sequences: Vec<Sequence<'a>>,
    ) -> Problem<'a> {
        Problem {
            operands,
            sequences,
            bounds,
            encoding: options.encoding,
            soft_cap: options.soft_cap,
            sm_scale: options.sm_scale,
            sinks: None,
            v_scale: 1.0,
            head_scales: HeadScales::ONE,
        }
    }
}

/// One sequence of a batch.
#[derive(Debug)]
pub(crate) struct Sequence<'a> {
    /// Its rows among the queries.
    pub(crate) rows: Range<usize>,
    pub(crate) keys: Tokens<'a>,
    /// A bit for each row and key, beside the bounds.
    pub(crate) mask: Option<Bits<'a>>,
}

/// The keys and values of a sequence, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tokens<'a> {
    /// Neighbours.
    Slots { start: usize, len: usize },
    /// Pages in any order; all but the last are full.
    Pages { pages: &'a [usize], page_size: usize, len: usize },
}

impl Tokens<'_> {
    pub(crate) fn len(&self) -> usize {
        match *self {
            Tokens::Slots { len, .. } | Tokens::Pages { len, .. } => len,
        }
    }

    pub(crate) fn place(&self, token: usize) -> Place {
        match *self {
            Tokens::Slots { start, .. } => Place { page: 0, slot: start + token },
            Tokens::Pages { pages, page_size, .. } => {
                Place { page: pages[token / page_size], slot: token % page_size }
            }
        }
    }
}
