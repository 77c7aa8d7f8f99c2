//! Sums in f32.

/// Partial sums that run side by side: they fill the vector registers of any machine, and keep the error of a
/// long sum as small as a tree's.
const LANES: usize = 16;

/// Sums `term` over the values, in f32.
///
/// The order of the additions depends on the number of values alone, so that equal rows have equal sums.
pub(crate) fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for block in blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane += term(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += term(value);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sum_is_near_the_exact_one(values in prop::collection::vec(0f32..1.0, 0..2000)) {
            let exact: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            let difference = (f64::from(sum(&values, |v| v * v)) - exact).abs();
            prop_assert!(difference <= 1e-6 * exact, "{}", difference);
        }
    }
}
