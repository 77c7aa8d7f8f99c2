//! Arguments and results: one tree, several lives.

use std::fmt;

use crate::dtype::DType;
use crate::tensor::{TensorBuf, TensorMeta, TensorView};
use crate::text::Text;

/// A value with tensors of type `T` at its leaves.
///
/// [`LiveValue`] borrows the caller's tensors during a call, [`MetaValue`] is what a record says of them, and
/// [`OwnedValue`] what replay hands to a function.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<T> {
    /// Python's `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of any size.
    Int(Int),
    /// A float, NaN and infinities included.
    Float(f64),
    /// A string.
    Text(Text),
    /// An element type, by torch's name (`torch.float16`): a newer torch may name one that we do not know.
    DType(String),
    /// A member of an enumeration.
    Enum {
        /// `Class.MEMBER`.
        name: String,
        /// What the member stands for.
        value: Box<Value<T>>,
    },
    /// A tensor.
    Tensor(T),
    /// A list.
    List(Vec<Value<T>>),
    /// A tuple, or a subclass of tuple: then `class` is its name (`Size`, `Point`).
    Tuple {
        /// `None` for a plain tuple.
        class: Option<String>,
        /// The items.
        items: Vec<Value<T>>,
    },
    /// A dictionary, entries in order.
    Map(Vec<(Value<T>, Value<T>)>),
    /// A container whose items the recorder did not keep, because it was nested too deeply.
    Truncated {
        /// `list`, `tuple`, `dict` or the subclass's name.
        class: String,
        /// Number of items it had.
        length: usize,
    },
    /// Anything else: the name of its class and its text.
    Opaque {
        /// Name of the class.
        class: String,
        /// Python's `str` of it, or what the recorder wrote in its place.
        repr: Text,
    },
}

/// A value whose tensors are the caller's own, for the time of a call.
pub type LiveValue<'a> = Value<TensorView<'a>>;

/// What a record says of a value.
///
/// Tensors are rare among recorded values and long lists of numbers are not: boxed, they keep the others small.
pub type MetaValue = Value<Box<MetaTensor>>;

/// A value with its tensors loaded.
pub type OwnedValue = Value<TensorBuf>;

/// A tensor inside a recorded container: its description and where its elements are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaTensor {
    /// Shape, strides, dtype, device.
    pub meta: TensorMeta,
    /// Gradients are wanted.
    pub requires_grad: bool,
    /// Key in the file of tensors.
    pub key: String,
}

impl MetaTensor {
    /// Describes a tensor that goes to a file under a key.
    pub fn of(tensor: &TensorView<'_>, key: String) -> MetaTensor {
        MetaTensor { meta: tensor.to_meta(), requires_grad: tensor.flags.requires_grad, key }
    }
}

/// An integer of any size.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Int {
    /// One that fits.
    Small(i64),
    /// The decimal digits, with a sign, of one that does not fit.
    Big(String),
}

impl Int {
    /// Reads a decimal integer as JSON spells it.
    pub fn from_decimal(digits: &str) -> Int {
        digits.parse().map_or_else(|_| Int::Big(digits.to_owned()), Int::Small)
    }
}

/// Writes the decimal digits.
impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Int::Small(value) => value.fmt(f),
            Int::Big(digits) => f.write_str(digits),
        }
    }
}

impl<T> Value<T> {
    /// Builds an integer.
    pub fn int(value: i64) -> Value<T> {
        Value::Int(Int::Small(value))
    }

    /// Builds a string.
    pub fn text(value: &str) -> Value<T> {
        Value::Text(Text::from(value))
    }

    /// Builds a dtype.
    pub fn dtype(value: DType) -> Value<T> {
        Value::DType(value.to_string())
    }

    /// Builds a plain tuple.
    pub fn tuple(items: Vec<Value<T>>) -> Value<T> {
        Value::Tuple { class: None, items }
    }

    /// Names the kind of value as Python would name its type, for messages.
    pub fn type_name(&self) -> &str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "str",
            Value::DType(_) => "torch.dtype",
            Value::Enum { name, .. } => name,
            Value::Tensor(_) => "Tensor",
            Value::List(_) => "list",
            Value::Tuple { class, .. } => class.as_deref().unwrap_or("tuple"),
            Value::Map(_) => "dict",
            Value::Truncated { class, .. } | Value::Opaque { class, .. } => class,
        }
    }

    /// Rebuilds the tree with each tensor replaced by what `load` makes of it; the first error ends it.
    pub fn try_map<U, E>(&self, load: &mut dyn FnMut(&T) -> Result<U, E>) -> Result<Value<U>, E> {
        Ok(match self {
            Value::None => Value::None,
            Value::Bool(value) => Value::Bool(*value),
            Value::Int(value) => Value::Int(value.clone()),
            Value::Float(value) => Value::Float(*value),
            Value::Text(value) => Value::Text(value.clone()),
            Value::DType(value) => Value::DType(value.clone()),
            Value::Enum { name, value } => {
                Value::Enum { name: name.clone(), value: Box::new(value.try_map(load)?) }
            }
            Value::Tensor(tensor) => Value::Tensor(load(tensor)?),
            Value::List(items) => Value::List(map_all(items, |item| item.try_map(load))?),
            Value::Tuple { class, items } => {
                let items = map_all(items, |item| item.try_map(load))?;
                Value::Tuple { class: class.clone(), items }
            }
            Value::Map(entries) => {
                Value::Map(map_all(entries, |(key, value)| Ok((key.try_map(load)?, value.try_map(load)?)))?)
            }
            Value::Truncated { class, length } => Value::Truncated { class: class.clone(), length: *length },
            Value::Opaque { class, repr } => Value::Opaque { class: class.clone(), repr: repr.clone() },
        })
    }

    /// Calls `visit` with this value and every value inside it, in recording order.
    pub fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a Value<T>)) {
        visit(self);
        match self {
            Value::List(items) | Value::Tuple { items, .. } => {
                items.iter().for_each(|item| item.for_each(visit));
            }
            Value::Map(entries) => entries.iter().for_each(|(key, value)| {
                key.for_each(visit);
                value.for_each(visit);
            }),
            Value::Enum { value, .. } => value.for_each(visit),
            Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::DType(_)
            | Value::Tensor(_)
            | Value::Truncated { .. }
            | Value::Opaque { .. } => {}
        }
    }

    /// Calls `visit` with every tensor of the tree, in recording order.
    pub fn for_each_tensor<'a>(&'a self, visit: &mut dyn FnMut(&'a T)) {
        self.for_each(&mut |value| {
            if let Value::Tensor(tensor) = value {
                visit(tensor);
            }
        });
    }
}

/// Maps every item into a vector of just the right size: one that grows is there twice for a moment.
fn map_all<A, B, E>(items: &[A], mut map: impl FnMut(&A) -> Result<B, E>) -> Result<Vec<B>, E> {
    let mut mapped = Vec::with_capacity(items.len());
    for item in items {
        mapped.push(map(item)?);
    }
    Ok(mapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_size_keep_their_digits() {
        for digits in ["0", "-5", "9223372036854775807", "-10000000000000000000000000000000000000000"] {
            assert_eq!(Int::from_decimal(digits).to_string(), digits);
        }
        assert!(matches!(Int::from_decimal("9223372036854775808"), Int::Big(_)));
    }

    #[test]
    fn try_map_keeps_the_tree_and_reaches_every_tensor() {
        let tree: Value<u8> = Value::tuple(vec![
            Value::Tensor(1),
            Value::Map(vec![(Value::text("k"), Value::List(vec![Value::Tensor(2)]))]),
        ]);
        let doubled = tree.try_map::<u8, ()>(&mut |t| Ok(t * 2)).unwrap();
        let mut seen = Vec::new();
        doubled.for_each_tensor(&mut |t| seen.push(*t));
        assert_eq!(seen, [2, 4]);
        assert_eq!(tree.try_map(&mut |t| if *t == 2 { Err("stop") } else { Ok(()) }), Err("stop"));
    }
}
