//! The options that every attention function takes under the same names.

use callbox_core::{Bound, ExecError};

use crate::operand;
use crate::rope::{Frequencies, Stretch};

/// What the arguments `pos_encoding_mode`, `window_left`, `logits_soft_cap`, `sm_scale`, `rope_scale` and
/// `rope_theta` ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) encoding: PositionEncoding,
    /// Keys before its own that a query sees; `None`: all.
    pub(crate) window_left: Option<i64>,
    /// Logits are bent to `cap * tanh(logit / cap)`; `None`: they are not.
    pub(crate) soft_cap: Option<f32>,
    /// Multiplies the products of queries and keys.
    pub(crate) sm_scale: f32,
}

/// FlashInfer's `pos_encoding_mode`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PositionEncoding {
    /// None: `NONE`.
    None,
    /// Rotary embedding of whole heads, halves paired (Su et al., "RoFormer", 2021): queries and keys turn by
    /// their place among the keys. A query may stand before the first key.
    RopeLlama(Frequencies),
    /// Attention with linear biases (Press et al., "Train Short, Test Long", 2022): adds
    /// `slope * (key - query)` to a logit, both counted from the start of the sequence in this call.
    /// [`Attention::alibi_slope`](super::problem::Attention::alibi_slope) has the slopes.
    Alibi,
}

impl Options {
    /// Reads the options for heads of `head_dim` elements.
    pub(crate) fn read(arguments: &Bound<'_>, head_dim: usize) -> Result<Options, ExecError> {
        const MODE: &str = "pos_encoding_mode";
        let encoding = match arguments.text(MODE)? {
            "NONE" => PositionEncoding::None,
            "ROPE_LLAMA" if !head_dim.is_multiple_of(2) => {
                let reason = format!("heads of {head_dim} elements have no halves to turn");
                return Err(operand::wrong_value(MODE, "ROPE_LLAMA", reason));
            }
            "ROPE_LLAMA" => {
                let scale = arguments.optional_float("rope_scale")?.unwrap_or(1.0);
                let theta = arguments.optional_float("rope_theta")?.unwrap_or(1e4);
                PositionEncoding::RopeLlama(Frequencies { theta, stretch: Stretch::Divided { scale } })
            }
            "ALIBI" => PositionEncoding::Alibi,
            other => {
                let reason = "expected NONE, ROPE_LLAMA or ALIBI";
                return Err(operand::wrong_value(MODE, other, reason));
            }
        };
        Ok(Options {
            encoding,
            window_left: window_left(arguments.int("window_left")?),
            soft_cap: arguments.optional_float("logits_soft_cap")?.filter(|&cap| cap > 0.0),
            sm_scale: match arguments.optional_float("sm_scale")? {
                Some(scale) => scale,
                None => 1.0 / (head_dim as f32).sqrt(),
            },
        })
    }

    /// Fails where `window_left` of `run` is given and differs from the planned one.
    pub(crate) fn check_window(&self, arguments: &Bound<'_>) -> Result<(), ExecError> {
        match arguments.optional_int("window_left")? {
            Some(given) if window_left(given) != self.window_left => {
                let planned = self.window_left.unwrap_or(-1);
                let reason = format!("plan was called with {planned}, and run cannot change it");
                Err(operand::wrong_value("window_left", given, reason))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Any negative window is no window.
fn window_left(argument: i64) -> Option<i64> {
    (argument >= 0).then_some(argument)
}

/// Returns the slope of a query head, one of `heads`: a geometric series over the greatest power of two of
/// heads, and every other member of a series twice as dense for the heads that remain.
pub(super) fn alibi_slope(head: usize, heads: usize) -> f32 {
    let power = 1 << heads.ilog2();
    let exponent = if head < power {
        -8.0 * (head + 1) as f64 / power as f64
    } else {
        -4.0 * (2 * (head - power) + 1) as f64 / power as f64
    };
    exponent.exp2() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alibi_slopes_are_those_of_the_paper() {
        let slopes = |heads| (0..heads).map(|head| alibi_slope(head, heads)).collect::<Vec<_>>();
        let powers = |exponents: &[f64]| exponents.iter().map(|e| e.exp2() as f32).collect::<Vec<_>>();
        assert_eq!(slopes(8), powers(&[-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0]));
        assert_eq!(
            slopes(6),
            powers(&[-2.0, -4.0, -6.0, -8.0, -1.0, -3.0]),
            "heads beyond a power of two take the odd members of the denser series"
        );
        assert_eq!(slopes(1), powers(&[-8.0]));
    }
}
