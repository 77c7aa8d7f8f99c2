//! Probabilities before sampling.

use callbox_core::{ExecError, TensorBuf};
use callbox_functions::{Kept, MaskLogits, Renormalise, Softmax};

use crate::numbers::FactorValues;
use crate::rows::Rows;
use crate::sum;

/// A sum of kept probabilities counts as at least this much, so that a row of zeros stays zero.
const SMALLEST_SUM: f32 = 1e-8;

/// Solves [`Softmax`].
pub(crate) fn softmax(problem: &Softmax<'_>) -> Result<TensorBuf, ExecError> {
    let mut logits = Rows::of(problem.logits, problem.vocab);
    let temperature = FactorValues::read(problem.temperature);
    for (place, row) in logits.iter_mut().enumerate() {
        match temperature.of(place) {
            0.0 => row.iter_mut().for_each(|x| *x *= 0.0),
            temperature => row.iter_mut().for_each(|x| *x /= temperature),
        }
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = (*x - greatest).exp());
        let total = sum::sum(row, |x| x);
        row.iter_mut().for_each(|x| *x /= total);
    }
    logits.rounded(problem.dtype)
}

/// Solves [`Renormalise`].
pub(crate) fn renormalise(problem: &Renormalise<'_>) -> Result<TensorBuf, ExecError> {
    let mut probs = Rows::of(problem.probs, problem.vocab);
    match problem.kept {
        Kept::TopK(top_k) => {
            for (place, row) in probs.iter_mut().enumerate() {
                let threshold = kth_largest(row, top_k.of(place));
                renormalise_row(row, threshold);
            }
        }
        Kept::TopP(top_p) => {
            let top_p = FactorValues::read(top_p);
            for (place, row) in probs.iter_mut().enumerate() {
                let threshold = nucleus_threshold(row, top_p.of(place));
                renormalise_row(row, threshold);
            }
        }
    }
    probs.rounded(problem.dtype)
}

/// Solves [`MaskLogits`].
pub(crate) fn mask_logits(problem: &MaskLogits<'_>) -> Result<TensorBuf, ExecError> {
    let mut logits = Rows::of(problem.logits, problem.vocab);
    for (place, row) in logits.iter_mut().enumerate() {
        let threshold = kth_largest(row, problem.top_k.of(place));
        for logit in row.iter_mut().filter(|logit| **logit < threshold) {
            *logit = f32::NEG_INFINITY;
        }
    }
    logits.rounded(problem.dtype)
}

/// Returns the `k`-th largest value of a row, counted from 1, or -inf where the row is no longer than `k`.
fn kth_largest(row: &[f32], k: usize) -> f32 {
    if k >= row.len() {
        return f32::NEG_INFINITY;
    }
    let mut values = row.to_vec();
    let (_, kth, _) = values.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    *kth
}

/// Returns the smallest probability that stays: the sum of all larger ones, which [`Kept::TopP`] describes, is below
/// `top_p`.
fn nucleus_threshold(row: &[f32], top_p: f32) -> f32 {
    if top_p >= 1.0 {
        return f32::NEG_INFINITY;
    }
    let mut descending = row.to_vec();
    descending.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut before = 0.0;
    let mut threshold = f32::INFINITY;
    for (place, &value) in descending.iter().enumerate() {
        if place > 0 && before as f32 >= top_p {
            break;
        }
        threshold = value;
        before += f64::from(value);
    }
    threshold
}

/// Divides the values from `threshold` on by their sum; the others become 0.
fn renormalise_row(row: &mut [f32], threshold: f32) {
    for value in row.iter_mut().filter(|value| **value < threshold) {
        *value = 0.0;
    }
    let total = sum::sum(row, |x| x).max(SMALLEST_SUM);
    row.iter_mut().for_each(|value| *value /= total);
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, OwnedValue, Value};
    use proptest::prelude::*;

    use crate::trial::{
        call, check_rounded, exact, float_dtype, ints, longs, random, scattered, tensor, vector,
    };

    /// Random probabilities, many of them equal to others.
    fn probabilities(dtype: DType, rows: usize, vocab: usize, seed: u64) -> callbox_core::TensorBuf {
        let values: Vec<f32> = exact(&random(DType::Float32, &[rows, vocab], seed))
            .iter()
            .map(|x| (x.abs() * 4.0).round() as f32 / vocab as f32)
            .collect();
        tensor(dtype, &[rows, vocab], &values)
    }

    /// Keeps what `stays` and divides it by its sum, in f64.
    fn naive_renormalised(row: &[f64], stays: impl Fn(f64) -> bool) -> Vec<f64> {
        let kept: Vec<f64> = row.iter().map(|&p| if stays(p) { p } else { 0.0 }).collect();
        let total: f64 = kept.iter().sum();
        kept.iter().map(|p| p / total.max(1e-8)).collect()
    }

    proptest! {
        #[test]
        fn softmax_follows_its_formula_and_is_f32(
            (rows, vocab) in (1usize..4, 1usize..200),
            dtype in float_dtype(),
            temperatures in prop::collection::vec(0.1f32..3.0, 3),
            seed: u64,
        ) {
            let logits = random(dtype, &[rows, vocab], seed);
            let expected = |temperature: &dyn Fn(usize) -> f64| -> Vec<f64> {
                let rows = exact(&logits);
                let rows = rows.chunks(vocab).enumerate().flat_map(|(place, row)| {
                    let weights: Vec<f64> = row.iter().map(|x| (x / temperature(place)).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    weights.into_iter().map(move |weight| weight / total)
                });
                rows.collect()
            };
            let plain = call("softmax").with(scattered(&logits)).tensor();
            prop_assert_eq!((plain.dtype(), plain.shape()), (DType::Float32, &[rows, vocab][..]));
            check_rounded(&plain, &expected(&|_| 1.0), 5e-6);

            let each = vector(DType::Float32, &temperatures[..rows]);
            let by_row = call("softmax").with(logits.clone()).with(each).tensor();
            check_rounded(&by_row, &expected(&|row| f64::from(temperatures[if rows == 1 { 0 } else { row }])), 5e-6);

            let same = call("softmax").with(logits.clone()).named("temperature", temperatures[0]).tensor();
            check_rounded(&same, &expected(&|_| f64::from(temperatures[0])), 5e-6);
        }

        // A value stays if fewer than k are larger: ties with the k-th all stay.
        #[test]
        fn top_k_keeps_all_values_that_fewer_than_k_exceed(
            (rows, vocab) in (1usize..4, 1usize..60),
            dtype in float_dtype(),
            k in prop::collection::vec(1i32..70, 3),
            seed: u64,
        ) {
            let probs = probabilities(dtype, rows, vocab, seed);
            let stays = |row: &[f64], k: i32, p: f64| row.iter().filter(|other| **other > p).count() < k as usize;
            for by_row in [true, false] {
                let k_of = |row: usize| if by_row { k[row] } else { k[0] };
                let top_k: OwnedValue = match by_row {
                    true => Value::Tensor(ints(&k[..rows])),
                    false => Value::int(i64::from(k[0])),
                };
                let values = exact(&probs);
                let row_of = || values.chunks(vocab).enumerate();
                let renormalised: Vec<f64> =
                    row_of().flat_map(|(i, row)| naive_renormalised(row, |p| stays(row, k_of(i), p))).collect();
                let actual = call("top_k_renorm_probs").with(scattered(&probs)).with(top_k.clone()).tensor();
                prop_assert_eq!(actual.dtype(), dtype);
                check_rounded(&actual, &renormalised, 1e-6);

                let masked: Vec<f64> = row_of()
                    .flat_map(|(i, row)| {
                        row.iter().map(move |&p| if stays(row, k_of(i), p) { p } else { f64::NEG_INFINITY })
                    })
                    .collect();
                let actual = call("top_k_mask_logits").with(probs.clone()).with(top_k).tensor();
                prop_assert_eq!(actual.dtype(), dtype);
                prop_assert_eq!(exact(&actual), masked);
            }
        }

        // A value stays if all larger ones together are below p.
        #[test]
        fn top_p_keeps_all_values_above_which_less_than_p_lies(
            (rows, vocab) in (1usize..4, 1usize..60),
            dtype in float_dtype(),
            p in prop::collection::vec(0f32..1.2, 3),
            seed: u64,
        ) {
            let probs = probabilities(dtype, rows, vocab, seed);
            let values = exact(&probs);
            let above = |row: &[f64], p: f64| row.iter().filter(|other| **other > p).sum::<f64>();
            let largest = |row: &[f64]| row.iter().copied().fold(0.0, f64::max);
            let stays = |row: &[f64], top_p: f64, p: f64| {
                top_p >= 1.0 || p == largest(row) || above(row, p) < top_p
            };
            for (i, row) in values.chunks(vocab).enumerate() {
                // Where a sum meets p within f32's own error, either answer is right.
                prop_assume!(row.iter().all(|&x| (above(row, x) - f64::from(p[i])).abs() > 1e-6));
            }
            let expected: Vec<f64> = values
                .chunks(vocab)
                .enumerate()
                .flat_map(|(i, row)| naive_renormalised(row, |x| stays(row, f64::from(p[i]), x)))
                .collect();
            let top_p = vector(DType::Float32, &p[..rows]);
            let actual = call("top_p_renorm_probs").with(scattered(&probs)).with(top_p).tensor();
            prop_assert_eq!(actual.dtype(), DType::Float32);
            check_rounded(&actual, &expected, 1e-6);
        }
    }

    #[test]
    fn temperature_zero_gives_equal_probabilities() {
        let logits = tensor(DType::Float32, &[2, 4], &[9.0, -3.0, 0.5, 2.0, 0.0, 0.0, 9.0, 9.0]);
        let temperatures = vector(DType::Float32, &[0.0, 1e-3]);
        let probs = exact(&call("softmax").with(logits).with(temperatures).tensor());
        assert_eq!(probs, [0.25, 0.25, 0.25, 0.25, 0.0, 0.0, 0.5, 0.5]);
    }

    #[test]
    fn masked_logits_get_no_probability() {
        let logits = tensor(DType::Float32, &[1, 3], &[1.0, f32::NEG_INFINITY, 1.0]);
        assert_eq!(exact(&call("softmax").with(logits).tensor()), [0.5, 0.0, 0.5]);
    }

    #[test]
    fn the_probability_that_crosses_p_stays_and_none_behind_it() {
        let probs = || tensor(DType::Float32, &[1, 4], &[0.125, 0.5, 0.125, 0.25]);
        for (p, expected) in [
            (0.0f32, [0.0, 1.0, 0.0, 0.0]),
            (0.5, [0.0, 1.0, 0.0, 0.0]),
            (0.51, [0.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]),
            (0.75, [0.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]),
            (0.76, [0.125, 0.5, 0.125, 0.25]),
            (1.0, [0.125, 0.5, 0.125, 0.25]),
        ] {
            check_rounded(&call("top_p_renorm_probs").with(probs()).with(p).tensor(), &expected, 0.0);
        }
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        let zeros = || tensor(DType::Float32, &[1, 3], &[0.0; 3]);
        assert_eq!(exact(&call("top_k_renorm_probs").with(zeros()).with(2i64).tensor()), [0.0; 3]);
        assert_eq!(exact(&call("top_p_renorm_probs").with(zeros()).with(0.5).tensor()), [0.0; 3]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let probs = || probabilities(DType::Float32, 2, 5, 1);
        assert_eq!(
            call("top_k_renorm_probs").with(probs()).with(0i64).error(),
            "argument `top_k` is 0: at least one token must stay"
        );
        assert_eq!(
            call("top_k_mask_logits").with(probs()).with(longs(&[1, 2, 3])).error(),
            "argument `top_k` has shape [3], expected [2], one integer for each row"
        );
        assert_eq!(
            call("top_p_renorm_probs").with(probs()).with(vector(DType::Float32, &[0.5; 3])).error(),
            "argument `top_p` has shape [3], expected [2], one number for each row"
        );
        assert_eq!(
            call("softmax").with(vector(DType::Float32, &[0.5; 3])).error(),
            "argument `logits` has shape [3], expected [batch, vocab]"
        );
    }
}
