//! How far apart two floats may be.

use callbox_core::{DType, ResultRule};

/// Two values agree if `|actual - expected| <= atol + rtol * |expected|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Relative part.
    pub rtol: f64,
    /// Absolute part, in the tensor's own unit.
    pub atol: f64,
}

/// What the user asked of the comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompareOptions {
    /// Replaces the relative tolerance of every float.
    pub rtol: Option<f64>,
    /// Replaces the absolute tolerance of every float.
    pub atol: Option<f64>,
    /// NaN agrees with NaN.
    pub equal_nan: bool,
}

/// Default tolerances; NaN agrees with NaN.
impl Default for CompareOptions {
    fn default() -> CompareOptions {
        CompareOptions { rtol: None, atol: None, equal_nan: true }
    }
}

impl CompareOptions {
    /// Builds what FlashInfer's own replay uses: 1e-3 and 1e-3 for every float.
    pub fn parity() -> CompareOptions {
        CompareOptions { rtol: Some(1e-3), atol: Some(1e-3), ..CompareOptions::default() }
    }

    /// Returns the tolerance for a float result.
    ///
    /// `largest` is the largest finite magnitude among the expected values. The absolute part shrinks with
    /// it where the values are below one: a fixed 1e-3 would accept a softmax of all zeros.
    pub fn tolerance(&self, rule: ResultRule, dtype: DType, largest: f64) -> Tolerance {
        let default = default_tolerance(rule, dtype, largest);
        Tolerance { rtol: self.rtol.unwrap_or(default.rtol), atol: self.atol.unwrap_or(default.atol) }
    }
}

/// One row a dtype: relative part, absolute part below one, absolute part for sums of products.
fn default_tolerance(rule: ResultRule, dtype: DType, largest: f64) -> Tolerance {
    let (rtol, values, products) = match dtype {
        DType::Float16 => (2e-3, 1e-3, 1e-3),
        DType::BFloat16 => (1.6e-2, 1e-2, 1e-3),
        // Results are computed in f32 whatever the dtype: f64 gets what f32 gets.
        DType::Float32 | DType::Float64 => (1e-4, 1e-5, 1e-5),
        DType::Float8E4M3Fn
        | DType::Float8E5M2
        | DType::Float8E4M3FnUz
        | DType::Float8E5M2FnUz
        | DType::Float8E8M0Fnu
        | DType::Float4E2M1FnX2
        | DType::Int64
        | DType::Int32
        | DType::Int16
        | DType::Int8
        | DType::UInt64
        | DType::UInt32
        | DType::UInt16
        | DType::UInt8
        | DType::Bool
        | DType::Complex32
        | DType::Complex64
        | DType::Complex128
        | DType::QInt8
        | DType::QUInt8
        | DType::QInt32 => (0.0, 0.0, 0.0),
    };
    match rule {
        ResultRule::Values | ResultRule::PackedFp4 => Tolerance { rtol, atol: values * largest.min(1.0) },
        ResultRule::Products => Tolerance { rtol, atol: products * largest },
        ResultRule::LogSumExp => Tolerance { rtol: 1e-4, atol: 1e-3 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: ResultRule, dtype: DType, largest: f64, rtol: f64, atol: f64) {
        let tolerance = CompareOptions::default().tolerance(rule, dtype, largest);
        assert_eq!(tolerance, Tolerance { rtol, atol }, "{rule:?} {dtype} {largest}");
    }

    #[test]
    fn the_absolute_part_follows_small_outputs_and_large_products() {
        check(ResultRule::Values, DType::Float16, 0.5, 2e-3, 0.5e-3);
        check(ResultRule::Values, DType::BFloat16, 100.0, 1.6e-2, 1e-2);
        check(ResultRule::Products, DType::BFloat16, 100.0, 1.6e-2, 0.1);
        check(ResultRule::Products, DType::Float16, 0.1, 2e-3, 1e-3 * 0.1);
        check(ResultRule::LogSumExp, DType::Float32, 100.0, 1e-4, 1e-3);
        check(ResultRule::Values, DType::Float8E4M3Fn, 100.0, 0.0, 0.0);
    }

    #[test]
    fn what_the_user_gives_holds_for_every_float() {
        let tolerance = CompareOptions::parity().tolerance(ResultRule::Products, DType::Float32, 1e6);
        assert_eq!(tolerance, Tolerance { rtol: 1e-3, atol: 1e-3 });
    }
}
