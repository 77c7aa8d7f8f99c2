//! Tensors: what they are, and at level 5 their statistics.

use callbox_core::python::push_sizes;
use callbox_core::{Statistics, Stats, TensorView};

use super::event::append;
use super::value::{Style, push_indent};

/// Appends a tensor of several lines; the first begins where `out` ends.
pub(super) fn push_tensor(out: &mut String, tensor: &TensorView<'_>, indent: usize, style: Style) {
    let python = |value: bool| if value { "True" } else { "False" };
    out.push_str("Tensor(\n");
    push_indent(out, indent + 2);
    out.push_str("shape=");
    push_sizes(out, tensor.layout.shape());
    field(out, indent, "stride=");
    push_sizes(out, tensor.layout.strides());
    field(out, indent, "dtype=");
    append(out, format_args!("{}", tensor.dtype));
    field(out, indent, "device=");
    append(out, format_args!("{}", tensor.device));
    field(out, indent, "requires_grad=");
    out.push_str(python(tensor.flags.requires_grad));
    field(out, indent, "is_contiguous=");
    out.push_str(python(tensor.layout.is_contiguous()));
    if style.statistics {
        push_statistics(out, &Statistics::of(tensor), indent);
    }
    out.push('\n');
    push_indent(out, indent);
    out.push(')');
}

fn push_statistics(out: &mut String, statistics: &Statistics, indent: usize) {
    match statistics {
        Statistics::Taken(Stats::Float { min, max, mean, special }) => {
            for (name, value) in [("min=", min), ("max=", max), ("mean=", mean)] {
                field(out, indent, name);
                push_decimals(out, *value);
            }
            field(out, indent, "nan_count=");
            append(out, format_args!("{}", special.nan));
            field(out, indent, "inf_count=");
            append(out, format_args!("{}", special.infinite));
        }
        Statistics::Taken(Stats::Integer { min, max, mean }) => {
            field(out, indent, "min=");
            append(out, format_args!("{min}"));
            field(out, indent, "max=");
            append(out, format_args!("{max}"));
            field(out, indent, "mean=");
            push_decimals(out, *mean);
        }
        Statistics::None => {}
        Statistics::Capturing => field(out, indent, "[statistics skipped: CUDA graph capture in progress]"),
        Statistics::Failed(reason) => {
            field(out, indent, "[statistics error: ");
            out.push_str(reason);
            out.push(']');
        }
    }
}

/// Ends the line and begins the next one with a name.
fn field(out: &mut String, indent: usize, name: &str) {
    out.push('\n');
    push_indent(out, indent + 2);
    out.push_str(name);
}

/// Appends six decimals, `nan`, `inf` or `-inf`.
fn push_decimals(out: &mut String, value: f32) {
    match (value.is_nan(), value.is_infinite(), value > 0.0) {
        (true, _, _) => out.push_str("nan"),
        (_, true, true) => out.push_str("inf"),
        (_, true, false) => out.push_str("-inf"),
        (_, false, _) => append(out, format_args!("{value:.6}")),
    }
}
