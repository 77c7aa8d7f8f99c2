//! Minimum, maximum, mean and counts of special values, with the dtype rules of FlashInfer's level 5.

use crate::dtype::DType;
use crate::layout::Run;
use crate::tensor::TensorBuf;

/// Statistics of a tensor's elements, taken after conversion to f32 (f64 beyond f32 counts as infinite).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Smallest element; NaN if any element is NaN.
    pub min: f32,
    /// Largest element; NaN if any element is NaN.
    pub max: f32,
    /// Arithmetic mean; NaN if any element is NaN.
    pub mean: f32,
    /// Number of NaN and of infinite elements; `None` for integers, which have neither.
    pub special: Option<SpecialCounts>,
}

/// How many elements are not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SpecialCounts {
    /// NaN elements.
    pub nan: u64,
    /// Positive or negative infinities.
    pub infinite: u64,
}

/// Which numbers FlashInfer prints for a dtype.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// All five.
    Float,
    /// Minimum, maximum and mean.
    Integer,
    /// None.
    Nothing,
}

impl Stats {
    /// Computes the statistics; `None` for dtypes that FlashInfer prints none for, for empty tensors, and for
    /// tensors that are expanded beyond [`crate::elements::EXPANSION_LIMIT`].
    pub fn of(tensor: &TensorBuf) -> Option<Stats> {
        let rule = rule(tensor.dtype());
        if rule == Rule::Nothing || tensor.numel() == 0 || tensor.check_expansion().is_err() {
            return None;
        }
        let mut sum = Sum::default();
        let mut buffer = [0.0; 4096];
        for run in tensor.layout().runs() {
            let mut done = 0;
            while done < run.len {
                let len = (run.len - done).min(buffer.len());
                let piece = Run { start: run.start + done * run.stride, len, stride: run.stride };
                tensor.read_run_f32(piece, &mut buffer[..len]).ok()?;
                sum.add(&buffer[..len]);
                done += len;
            }
        }
        Some(sum.finish(tensor.numel(), rule))
    }
}

#[derive(Debug)]
struct Sum {
    min: f32,
    max: f32,
    total: f64,
    special: SpecialCounts,
}

impl Default for Sum {
    fn default() -> Sum {
        Sum { min: f32::INFINITY, max: f32::NEG_INFINITY, total: 0.0, special: SpecialCounts::default() }
    }
}

impl Sum {
    fn add(&mut self, values: &[f32]) {
        for &value in values {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
            self.total += f64::from(value);
            self.special.nan += u64::from(value.is_nan());
            self.special.infinite += u64::from(value.is_infinite());
        }
    }

    fn finish(self, numel: usize, rule: Rule) -> Stats {
        let special = (rule == Rule::Float).then_some(self.special);
        if self.special.nan > 0 {
            return Stats { min: f32::NAN, max: f32::NAN, mean: f32::NAN, special };
        }
        Stats { min: self.min, max: self.max, mean: (self.total / numel as f64) as f32, special }
    }
}

fn rule(dtype: DType) -> Rule {
    match dtype {
        DType::Float64
        | DType::Float32
        | DType::Float16
        | DType::BFloat16
        | DType::Float8E4M3Fn
        | DType::Float8E5M2 => Rule::Float,
        DType::Int64 | DType::Int32 | DType::Int16 | DType::Int8 | DType::UInt8 => Rule::Integer,
        DType::Float8E4M3FnUz
        | DType::Float8E5M2FnUz
        | DType::Float8E8M0Fnu
        | DType::Float4E2M1FnX2
        | DType::UInt64
        | DType::UInt32
        | DType::UInt16
        | DType::Bool
        | DType::Complex32
        | DType::Complex64
        | DType::Complex128
        | DType::QInt8
        | DType::QUInt8
        | DType::QInt32 => Rule::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32_stats(values: &[f32]) -> Option<Stats> {
        Stats::of(&TensorBuf::from_f32(DType::Float32, &[values.len()], values).unwrap())
    }

    #[test]
    fn finite_values_give_all_five_numbers() {
        let special = Some(SpecialCounts::default());
        assert_eq!(f32_stats(&[1.0, -2.0, 4.0]), Some(Stats { min: -2.0, max: 4.0, mean: 1.0, special }));
    }

    #[test]
    fn one_nan_makes_the_others_nan_and_infinities_are_counted() {
        let stats = f32_stats(&[1.0, f32::NAN, f32::INFINITY]).unwrap();
        assert!(stats.min.is_nan() && stats.max.is_nan() && stats.mean.is_nan());
        assert_eq!(stats.special, Some(SpecialCounts { nan: 1, infinite: 1 }));
    }

    #[test]
    fn integers_have_no_special_counts_and_empty_or_boolean_tensors_no_statistics() {
        let bytes = TensorBuf::from_elements(DType::UInt8, &[2], vec![0, 255]).unwrap();
        assert_eq!(Stats::of(&bytes), Some(Stats { min: 0.0, max: 255.0, mean: 127.5, special: None }));
        assert_eq!(Stats::of(&TensorBuf::from_elements(DType::Bool, &[1], vec![1]).unwrap()), None);
        assert_eq!(f32_stats(&[]), None);
    }
}
