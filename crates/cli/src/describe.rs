//! Tensors and values in a line of text.

use callbox_core::{OwnedValue, Stats, TensorBuf, Value};

use crate::{style, units};

/// A tensor in words, part by part, so that several can be put into columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct TensorText {
    pub(crate) dtype: String,
    pub(crate) shape: String,
    /// `contiguous`, or strides and offset in elements.
    pub(crate) layout: String,
    /// The one element, or the statistics.
    pub(crate) content: String,
}

impl TensorText {
    pub(crate) fn new(tensor: &TensorBuf) -> TensorText {
        let layout = tensor.layout();
        let mut layout_text = if layout.is_contiguous() {
            "contiguous".to_owned()
        } else {
            format!("strides {:?}", layout.strides())
        };
        if layout.offset() > 0 {
            layout_text.push_str(&format!(" offset {}", layout.offset()));
        }
        // Only one element is copied out: a tensor may be as large as the machine's memory.
        let single = if tensor.numel() == 1 { tensor.to_f64().ok() } else { None };
        let content = match single.as_deref() {
            Some([value]) => number(*value),
            Some(_) | None => Stats::of(tensor).as_ref().map(statistics).unwrap_or_default(),
        };
        TensorText {
            dtype: tensor.dtype().name().to_owned(),
            shape: units::shape(tensor.shape()),
            layout: layout_text,
            content,
        }
    }
}

/// Describes a tensor in a line: dtype, shape, layout, and its one element or its statistics.
pub(crate) fn tensor(tensor: &TensorBuf) -> String {
    let TensorText { dtype, shape, layout, content } = TensorText::new(tensor);
    format!("{dtype} {shape} {layout}  {content}").trim_end().to_owned()
}

fn statistics(stats: &Stats) -> String {
    match *stats {
        Stats::Integer { min, max, mean } => {
            format!("min {min}  max {max}  mean {}", number(f64::from(mean)))
        }
        Stats::Float { min, max, mean, special } => {
            let [min, max, mean] = [min, max, mean].map(|value| number(f64::from(value)));
            let mut text = format!("min {min}  max {max}  mean {mean}");
            if special.nan + special.infinite > 0 {
                let counts = format!("  {} NaN, {} infinite", special.nan, special.infinite);
                text.push_str(&style::paint(style::red(), &counts));
            }
            text
        }
    }
}

/// Writes an element with five significant digits; whole numbers have all of theirs.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value.fract() == 0.0 && magnitude < 1e15 {
        return format!("{value:.0}");
    }
    if !(1e-4..1e6).contains(&magnitude) {
        return format!("{value:.4e}");
    }
    let decimals = 4 - magnitude.log10().floor() as i32;
    units::trimmed(format!("{value:.*}", usize::try_from(decimals).unwrap_or_default()))
}

/// Describes a result that cannot be compared.
pub(crate) fn result(value: &OwnedValue) -> String {
    self::value(value, &tensor)
}

/// Writes a value in Python's spelling, long containers cut; `tensor` describes the tensors in it.
pub(crate) fn value<T>(value: &Value<T>, tensor: &dyn Fn(&T) -> String) -> String {
    const SHOWN: usize = 8;
    let texts = |items: &[Value<T>]| {
        let mut texts: Vec<_> = items.iter().take(SHOWN).map(|item| self::value(item, tensor)).collect();
        if items.len() > SHOWN {
            texts.push(format!("… {} in all", units::count(items.len())));
        }
        texts.join(", ")
    };
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Text(value) => format!("{value:?}"),
        Value::DType(name) => style::clean(name),
        Value::Enum { name, value } => format!("{} ({})", style::clean(name), self::value(value, tensor)),
        Value::Tensor(value) => tensor(value),
        Value::List(items) => format!("[{}]", texts(items)),
        Value::Tuple { class: None, items } => format!("({})", texts(items)),
        Value::Tuple { class: Some(class), items } => format!("{}({})", style::clean(class), texts(items)),
        Value::Map(entries) => {
            let entry = |(key, value): &(Value<T>, Value<T>)| {
                format!("{}: {}", self::value(key, tensor), self::value(value, tensor))
            };
            let mut texts: Vec<_> = entries.iter().take(SHOWN).map(entry).collect();
            if entries.len() > SHOWN {
                texts.push(format!("… {} in all", units::count(entries.len())));
            }
            format!("{{{}}}", texts.join(", "))
        }
        Value::Truncated { class, length } => {
            format!("{} of {length} items, nested too deeply", style::clean(class))
        }
        Value::Opaque { class, repr } => style::clean(&format!("{class}: {repr}")),
    }
}

#[cfg(test)]
mod tests {
    use callbox_core::DType;

    use super::*;

    #[test]
    fn a_tensor_is_told_by_its_dtype_shape_layout_and_statistics() {
        let whole = TensorBuf::from_f32(DType::Float32, &[2, 2], &[1.0, 2.0, 3.0, 4.5]).unwrap();
        assert_eq!(tensor(&whole), "float32 [2, 2] contiguous  min 1  max 4.5  mean 2.625");
        let one = TensorBuf::from_f32(DType::Float32, &[], &[0.00031]).unwrap();
        assert_eq!(tensor(&one), "float32 [] contiguous  0.00031");
    }

    #[test]
    fn a_number_keeps_all_digits_before_its_point() {
        for (value, text) in [
            (100_000.4, "100000"),
            (12_340.25, "12340"),
            (1234.56, "1234.6"),
            (0.5, "0.5"),
            (0.000_123_456, "0.00012346"),
            (1e-7, "1.0000e-7"),
            (1e300, "1.0000e300"),
            (-3.0, "-3"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn values_are_spelled_as_python_spells_them() {
        let list: Value<()> = Value::List((0..10).map(Value::int).collect());
        let tuple =
            Value::tuple(vec![Value::None, Value::Bool(true), Value::text("a"), Value::Float(0.5), list]);
        let expected = "(None, True, \"a\", 0.5, [0, 1, 2, 3, 4, 5, 6, 7, … 10 in all])";
        assert_eq!(value(&tuple, &|()| String::new()), expected);
    }
}
