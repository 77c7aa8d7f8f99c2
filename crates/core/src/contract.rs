//! What an executor promises of a function: which arguments it writes, and how its results are compared.

/// What replay has to know of a function beyond its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Names of the arguments that the function writes into.
    pub writes: &'static [&'static str],
    /// How each result is compared, in order; the last rule holds for all that follow.
    pub results: &'static [ResultRule],
}

impl Contract {
    /// Returns the rule for the result at `position` of a tuple, or for a single result at 0.
    pub fn rule(&self, position: usize) -> ResultRule {
        let last = self.results.len().saturating_sub(1);
        self.results.get(position.min(last)).copied().unwrap_or(ResultRule::Values)
    }
}

/// A function that writes nothing and whose results are compared as plain values.
impl Default for Contract {
    fn default() -> Contract {
        Contract { writes: &[], results: &[ResultRule::Values] }
    }
}

/// How a result is compared with the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultRule {
    /// Floats within the tolerance of their dtype, everything else exactly.
    Values,
    /// As [`ResultRule::Values`], with the absolute tolerance scaled by the largest expected value: sums of
    /// many products.
    Products,
    /// A log-sum-exp in f32.
    LogSumExp,
    /// Two e2m1 codes a byte: codes of equal sign may be one step apart in at most one of a hundred.
    PackedFp4,
}
