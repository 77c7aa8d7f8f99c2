//! A tensor: one line a property, and its statistics at level 5.

use callbox_core::python::push_sizes;
use callbox_core::{SpecialCounts, Statistics, Stats, TensorView};

use super::repr::push_bool;
use super::value::push_indent;
use super::{append, push_lines};

/// Appends a tensor's lines behind the indentation of its first one.
pub(super) fn push_tensor(
    out: &mut String,
    tensor: &TensorView<'_>,
    depth: usize,
    statistics: Option<&Statistics>,
) {
    out.push_str("Tensor(\n");
    let inner = depth + 1;
    push_indent(out, inner);
    out.push_str("shape=");
    push_sizes(out, tensor.layout.shape());
    push_label(out, inner, "stride=");
    push_sizes(out, tensor.layout.strides());
    push_label(out, inner, "dtype=");
    append(out, format_args!("{}", tensor.dtype));
    push_label(out, inner, "device=");
    append(out, format_args!("{}", tensor.device));
    push_label(out, inner, "requires_grad=");
    push_bool(out, tensor.flags.requires_grad);
    push_label(out, inner, "is_contiguous=");
    push_bool(out, tensor.layout.is_contiguous());
    if let Some(statistics) = statistics {
        push_statistics(out, inner, statistics);
    }
    push_label(out, depth, ")\n");
}

/// Begins a line.
fn push_label(out: &mut String, depth: usize, label: &str) {
    out.push('\n');
    push_indent(out, depth);
    out.push_str(label);
}

fn push_statistics(out: &mut String, depth: usize, statistics: &Statistics) {
    match statistics {
        Statistics::None => {}
        Statistics::Taken(Stats::Float { min, max, mean, special: SpecialCounts { nan, infinite } }) => {
            for (label, value) in [("min=", min), ("max=", max), ("mean=", mean)] {
                push_label(out, depth, label);
                push_fixed(out, *value);
            }
            for (label, count) in [("nan_count=", nan), ("inf_count=", infinite)] {
                push_label(out, depth, label);
                append(out, format_args!("{count}"));
            }
        }
        Statistics::Taken(Stats::Integer { min, max, mean }) => {
            for (label, value) in [("min=", min), ("max=", max)] {
                push_label(out, depth, label);
                append(out, format_args!("{value}"));
            }
            push_label(out, depth, "mean=");
            push_fixed(out, *mean);
        }
        Statistics::Capturing => {
            push_label(out, depth, "[statistics skipped: CUDA graph capture in progress]");
        }
        Statistics::Failed(reason) => {
            push_label(out, depth, "[statistics error: ");
            push_lines(out, reason);
            out.push(']');
        }
    }
}

/// Appends a number with six decimals, as C's `%.6f` has it.
fn push_fixed(out: &mut String, value: f32) {
    if value.is_nan() {
        out.push_str("nan");
    } else {
        append(out, format_args!("{value:.6}"));
    }
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, Layout};

    use super::*;

    fn check(statistics: &Statistics, expected: &str) {
        let mut out = String::new();
        push_statistics(&mut out, 0, statistics);
        assert_eq!(out, expected);
    }

    fn floats(min: f32, max: f32, mean: f32) -> Statistics {
        Statistics::Taken(Stats::Float { min, max, mean, special: SpecialCounts { nan: 2, infinite: 3 } })
    }

    #[test]
    fn statistics_have_six_decimals_and_names_for_what_is_not_finite() {
        check(
            &floats(-0.0, 1e30, 123_456_789.125),
            "\nmin=-0.000000\nmax=1000000015047466219876688855040.000000\nmean=123456792.000000\nnan_count=2\ninf_count=3",
        );
        check(
            &floats(f32::NEG_INFINITY, f32::INFINITY, -f32::NAN),
            "\nmin=-inf\nmax=inf\nmean=nan\nnan_count=2\ninf_count=3",
        );
        // Halves go to the even neighbour: these two are exact in binary.
        check(
            &floats(0.000_000_5, 0.5f32.powi(7), 0.5f32.powi(7) * 3.0),
            "\nmin=0.000000\nmax=0.007812\nmean=0.023438\nnan_count=2\ninf_count=3",
        );
        check(
            &Statistics::Taken(Stats::Integer { min: i64::MIN, max: 1 << 40, mean: 1.5 }),
            "\nmin=-9223372036854775808\nmax=1099511627776\nmean=1.500000",
        );
    }

    #[test]
    fn statistics_that_were_not_taken_say_why() {
        check(&Statistics::None, "");
        check(&Statistics::Capturing, "\n[statistics skipped: CUDA graph capture in progress]");
        check(&Statistics::Failed("the device failed".to_owned()), "\n[statistics error: the device failed]");
    }

    #[test]
    fn a_tensor_has_a_line_for_each_property() {
        let bytes = [0; 24];
        let layout = Layout::new(&[3, 2], &[1, 3], 0).unwrap();
        let view = TensorView::new(DType::Float32, layout, &bytes).unwrap();
        let mut out = String::new();
        push_tensor(&mut out, &view, 1, None);
        let expected = "Tensor(\n    shape=(3, 2)\n    stride=(1, 3)\n    dtype=torch.float32\n    device=cpu\n    \
                        requires_grad=False\n    is_contiguous=False\n  )\n";
        assert_eq!(out, expected);
    }
}
