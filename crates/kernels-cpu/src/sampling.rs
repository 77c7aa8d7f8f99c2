//! Probabilities before sampling: softmax, and keeping only the likely tokens.
//!
//! Logits and probabilities are `[batch, vocab]` of any float; each row is on its own. Everything is computed in
//! f32 and rounded once, to nearest with ties to even.
//!
//! Shapes and defaults are those of FlashInfer's documentation, page `flashinfer.sampling`;
//! top-k is from Fan, Lewis and Dauphin, "Hierarchical Neural Story Generation" (2018), top-p (nucleus sampling)
//! from Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020).

use callbox_core::{Bound, Contract, DType, ExecError, OwnedValue, ResultRule, Value};

use crate::operand::PerRow;
use crate::rows::Rows;
use crate::table::Function;
use crate::{operand, output, sum};

const VALUES: Contract = Contract { writes: &[], results: &[ResultRule::Values] };

pub(crate) const ROWS: &[Function] = &[
    Function::new(VALUES, "softmax", "logits, temperature=None, enable_pdl=None", softmax),
    Function::new(VALUES, "top_k_renorm_probs", "probs, top_k, is_deterministic=False", top_k_renorm_probs),
    Function::new(VALUES, "top_k_mask_logits", "logits, top_k", top_k_mask_logits),
    Function::new(VALUES, "top_p_renorm_probs", "probs, top_p, is_deterministic=False", top_p_renorm_probs),
];

/// A sum of kept probabilities counts as at least this much, so that a row of zeros stays zero.
const SMALLEST_SUM: f32 = 1e-8;

/// `e^(x - max) / sum e^(x - max)` with `x = logits / temperature`.
///
/// `logits` is `[batch, vocab]`, `temperature` None, a number or `[batch]`. The result is `[batch, vocab]` in f32
/// for every dtype of `logits`, so nothing is rounded at the end. A temperature of zero makes every finite logit
/// zero, which gives equal probabilities. Source: FlashInfer's documentation, `flashinfer.sampling.softmax`.
fn softmax(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let mut logits = read(arguments, "logits")?;
    let temperature = match arguments.value("temperature") {
        Value::None => PerRow::Same(1.0),
        _ => operand::per_row(arguments, "temperature", logits.shape[0])?,
    };
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
    let probs = output::rounded(DType::Float32, &logits.shape, &logits.values)?;
    Ok(Value::Tensor(probs))
}

/// Keeps the `top_k` largest of each row and divides them by their sum; the others become 0 (Fan et al., 2018).
///
/// `probs` is `[batch, vocab]`; `top_k` is an integer or integers `[batch]`, at least 1; from `vocab` on
/// everything stays. All values equal to the smallest kept one stay too. The result has the shape and dtype of
/// `probs`. Source: FlashInfer's documentation, `flashinfer.sampling.top_k_renorm_probs`.
fn top_k_renorm_probs(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let mut probs = read(arguments, "probs")?;
    let top_k = TopK::read(arguments, probs.shape[0])?;
    for (place, row) in probs.iter_mut().enumerate() {
        let threshold = kth_largest(row, top_k.of(place));
        renormalise(row, threshold);
    }
    like(&probs)
}

/// Keeps the `top_k` largest logits of each row unchanged; the others become -inf (Fan et al., 2018).
///
/// `logits` is `[batch, vocab]`; `top_k` and ties as [`top_k_renorm_probs`] has them. The result has the shape
/// and dtype of `logits`. Source: FlashInfer's documentation,
/// `flashinfer.sampling.top_k_mask_logits`.
fn top_k_mask_logits(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let mut logits = read(arguments, "logits")?;
    let top_k = TopK::read(arguments, logits.shape[0])?;
    for (place, row) in logits.iter_mut().enumerate() {
        let threshold = kth_largest(row, top_k.of(place));
        for logit in row.iter_mut().filter(|logit| **logit < threshold) {
            *logit = f32::NEG_INFINITY;
        }
    }
    like(&logits)
}

/// Keeps the largest probabilities of each row until their sum reaches `top_p`, and divides them by their sum;
/// the others become 0 (Holtzman et al., 2020).
///
/// `probs` is `[batch, vocab]`; `top_p` is a number or `[batch]`; from 1 on everything stays. The probability
/// that crosses `top_p` stays, with all that are equal to it. The result has the shape of `probs` and is f32,
/// whatever their dtype: FlashInfer converts them before its kernel runs.
/// Source: FlashInfer's documentation, `flashinfer.sampling.top_p_renorm_probs`.
fn top_p_renorm_probs(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let mut probs = read(arguments, "probs")?;
    let top_p = operand::per_row(arguments, "top_p", probs.shape[0])?;
    for (place, row) in probs.iter_mut().enumerate() {
        let threshold = nucleus_threshold(row, top_p.of(place));
        renormalise(row, threshold);
    }
    Ok(Value::Tensor(output::rounded(DType::Float32, &probs.shape, &probs.values)?))
}

fn read(arguments: &Bound<'_>, name: &'static str) -> Result<Rows, ExecError> {
    let [_, _] = operand::sizes(arguments, name, "[batch, vocab]")?;
    Rows::read(arguments, name)
}

fn like(rows: &Rows) -> Result<OwnedValue, ExecError> {
    let tensor = output::rounded(rows.dtype, &rows.shape, &rows.values)?;
    Ok(Value::Tensor(tensor))
}

/// How many of each row to keep.
enum TopK {
    Same(i64),
    Each(Vec<i64>),
}

impl TopK {
    fn read(arguments: &Bound<'_>, rows: usize) -> Result<TopK, ExecError> {
        let top_k = match arguments.value("top_k") {
            Value::Tensor(tensor) if tensor.numel() != 1 => {
                let each = operand::integers_of(arguments, "top_k", &[rows], "one integer for each row")?;
                TopK::Each(each)
            }
            _ => TopK::Same(arguments.int("top_k")?),
        };
        let smallest = match &top_k {
            TopK::Same(k) => Some(*k),
            TopK::Each(each) => each.iter().copied().min(),
        };
        match smallest {
            Some(k) if k < 1 => Err(operand::wrong_value("top_k", k, "at least one token must stay")),
            Some(_) | None => Ok(top_k),
        }
    }

    fn of(&self, row: usize) -> usize {
        let k = match self {
            TopK::Same(k) => *k,
            TopK::Each(each) => each[row],
        };
        usize::try_from(k).unwrap_or(usize::MAX)
    }
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

/// Returns the smallest probability that stays: the sum of all larger ones is below `top_p`.
///
/// The sum runs in f64 and is compared in f32: over a long row a sum in f32 drifts by more than the smallest
/// probabilities, and an f64 comparison would tell sums apart that are equal as far as `top_p` can say.
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
fn renormalise(row: &mut [f32], threshold: f32) {
    for value in row.iter_mut().filter(|value| **value < threshold) {
        *value = 0.0;
    }
    let total = sum::sum(row, |x| x).max(SMALLEST_SUM);
    row.iter_mut().for_each(|value| *value /= total);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
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
