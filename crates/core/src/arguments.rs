//! The arguments of a call, and binding them to a signature by Python's rules.

use std::borrow::Cow;

use crate::dtype::DType;
use crate::error::ExecError;
use crate::signature::Signature;
use crate::tensor::TensorBuf;
use crate::value::{Int, OwnedValue, Value};

/// The arguments of one call, by position and by name.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// Arguments by position; a method's object is not among them.
    pub positional: Vec<OwnedValue>,
    /// Arguments by name.
    pub keyword: Vec<(String, OwnedValue)>,
}

impl Arguments {
    /// Binds the arguments to the names of a signature.
    ///
    /// Errors as Python has them: too many, twice, unknown, missing.
    pub fn bind<'a>(&'a mut self, signature: &'a Signature) -> Result<Bound<'a>, ExecError> {
        let accepted = signature.positional_count();
        if self.positional.len() > accepted && !signature.takes_more_positional() {
            return Err(ExecError::TooManyArguments { given: self.positional.len(), accepted });
        }
        let mut slots: Vec<Option<&'a mut OwnedValue>> = Vec::new();
        slots.resize_with(signature.parameters().len(), || None);
        let mut rest = Vec::new();
        for (place, value) in self.positional.iter_mut().enumerate() {
            match slots.get_mut(place) {
                Some(slot) if place < accepted => *slot = Some(value),
                Some(_) | None => rest.push(value),
            }
        }
        for (name, value) in &mut self.keyword {
            let place = signature.place(name).ok_or_else(|| ExecError::UnexpectedArgument(name.clone()))?;
            if slots[place].replace(value).is_some() {
                return Err(ExecError::RepeatedArgument(name.clone()));
            }
        }
        let slots = slots
            .into_iter()
            .zip(signature.parameters())
            .map(|(slot, parameter)| match (slot, &parameter.default) {
                (Some(value), _) => Ok(Slot::Given(value)),
                (None, Some(default)) => Ok(Slot::Default(default.clone())),
                (None, None) => Err(ExecError::MissingArgument(parameter.name.to_owned())),
            })
            .collect::<Result<_, _>>()?;
        Ok(Bound { signature, slots, rest })
    }
}

/// Arguments under the names of a signature, defaults filled in.
///
/// The reading methods panic on a name that the signature does not have: that is a slip in the code that
/// asks, not in the recorded call.
#[derive(Debug)]
pub struct Bound<'a> {
    signature: &'a Signature,
    slots: Vec<Slot<'a>>,
    rest: Vec<&'a mut OwnedValue>,
}

#[derive(Debug)]
enum Slot<'a> {
    Given(&'a mut OwnedValue),
    Default(OwnedValue),
}

impl Bound<'_> {
    /// Returns an argument, or its default.
    pub fn value(&self, name: &str) -> &OwnedValue {
        match &self.slots[self.place(name)] {
            Slot::Given(value) => value,
            Slot::Default(value) => value,
        }
    }

    /// Tells whether an argument was passed, whatever its value.
    pub fn is_given(&self, name: &str) -> bool {
        matches!(self.slots[self.place(name)], Slot::Given(_))
    }

    /// Returns positional arguments beyond the named ones, where the signature ends in `*args`.
    pub fn rest(&self) -> impl Iterator<Item = &OwnedValue> {
        self.rest.iter().map(|value| &**value)
    }

    fn place(&self, name: &str) -> usize {
        self.signature.place(name).unwrap_or_else(|| panic!("the signature has no parameter `{name}`"))
    }

    fn wrong_type(&self, name: &str, expected: &'static str) -> ExecError {
        ExecError::ArgumentType {
            argument: name.to_owned(),
            expected,
            found: format!("value of type {}", self.value(name).type_name()),
        }
    }

    /// Returns a tensor.
    pub fn tensor(&self, name: &str) -> Result<&TensorBuf, ExecError> {
        self.optional_tensor(name)?.ok_or_else(|| self.wrong_type(name, "a tensor"))
    }

    /// Returns a tensor, or `None` for None.
    pub fn optional_tensor(&self, name: &str) -> Result<Option<&TensorBuf>, ExecError> {
        match self.value(name) {
            Value::Tensor(tensor) => Ok(Some(tensor)),
            Value::None => Ok(None),
            _ => Err(self.wrong_type(name, "a tensor")),
        }
    }

    /// Returns a tensor for writing, or `None` for None.
    pub fn optional_tensor_mut(&mut self, name: &str) -> Result<Option<&mut TensorBuf>, ExecError> {
        self.optional_tensor(name)?;
        Ok(match self.given_mut(name) {
            Some(Value::Tensor(tensor)) => Some(tensor),
            Some(_) | None => None,
        })
    }

    /// Returns a tensor for writing.
    pub fn tensor_mut(&mut self, name: &str) -> Result<&mut TensorBuf, ExecError> {
        let missing = self.wrong_type(name, "a tensor");
        self.optional_tensor_mut(name)?.ok_or(missing)
    }

    /// Returns an argument for writing, or `None` where the call gives none.
    pub fn given_mut(&mut self, name: &str) -> Option<&mut OwnedValue> {
        let place = self.place(name);
        match &mut self.slots[place] {
            Slot::Given(value) => Some(value),
            Slot::Default(_) => None,
        }
    }

    /// Copies a tensor's elements out as f32, row-major.
    pub fn f32s(&self, name: &str) -> Result<Vec<f32>, ExecError> {
        let elements = self.tensor(name)?.to_f32();
        elements.map_err(|source| ExecError::Elements { argument: name.to_owned(), source })
    }

    /// Copies an integer tensor's elements out as i64, row-major.
    pub fn i64s(&self, name: &str) -> Result<Vec<i64>, ExecError> {
        let elements = self.tensor(name)?.to_i64();
        elements.map_err(|source| ExecError::Elements { argument: name.to_owned(), source })
    }

    /// Returns an argument as [`Bound::value`] does, a numpy scalar as the number that it is.
    fn number(&self, name: &str) -> Cow<'_, OwnedValue> {
        let value = self.value(name);
        numpy_scalar(value).map_or(Cow::Borrowed(value), Cow::Owned)
    }

    /// Returns a number: a float, an integer, a numpy scalar, or a tensor of one element.
    pub fn float(&self, name: &str) -> Result<f32, ExecError> {
        self.optional_float(name)?.ok_or_else(|| self.wrong_type(name, "a number"))
    }

    /// Returns a number as [`Bound::float`] does, or `None` for None.
    pub fn optional_float(&self, name: &str) -> Result<Option<f32>, ExecError> {
        match &*self.number(name) {
            Value::None => Ok(None),
            Value::Float(value) => Ok(Some(*value as f32)),
            Value::Int(Int::Small(value)) => Ok(Some(*value as f32)),
            Value::Bool(value) => Ok(Some(f32::from(u8::from(*value)))),
            Value::Tensor(tensor) if tensor.numel() == 1 => Ok(Some(self.f32s(name)?[0])),
            Value::Tensor(tensor) => Err(ExecError::ArgumentShape {
                argument: name.to_owned(),
                shape: tensor.shape().to_vec(),
                expected: "one element".to_owned(),
            }),
            _ => Err(self.wrong_type(name, "a number or a tensor of one element")),
        }
    }

    /// Returns an integer, also of numpy; an enumeration gives the number behind its member.
    pub fn int(&self, name: &str) -> Result<i64, ExecError> {
        self.optional_int(name)?.ok_or_else(|| self.wrong_type(name, "an integer"))
    }

    /// Returns an integer as [`Bound::int`] does, or `None` for None.
    pub fn optional_int(&self, name: &str) -> Result<Option<i64>, ExecError> {
        let value = self.number(name);
        let value = match &*value {
            Value::Enum { value, .. } => value,
            other => other,
        };
        match value {
            Value::None => Ok(None),
            Value::Bool(value) => Ok(Some(i64::from(*value))),
            Value::Int(Int::Small(value)) => Ok(Some(*value)),
            Value::Tensor(tensor) if tensor.numel() == 1 => Ok(self.i64s(name)?.first().copied()),
            _ => Err(self.wrong_type(name, "an integer")),
        }
    }

    /// Returns a size: an integer that is not negative.
    pub fn size(&self, name: &str) -> Result<usize, ExecError> {
        let value = self.int(name)?;
        usize::try_from(value).map_err(|_| ExecError::ArgumentValue {
            argument: name.to_owned(),
            value: value.to_string(),
            reason: "a size cannot be negative".to_owned(),
        })
    }

    /// Returns a truth value, also of numpy; integers count as in Python, None is false.
    pub fn flag(&self, name: &str) -> Result<bool, ExecError> {
        match &*self.number(name) {
            Value::None => Ok(false),
            Value::Bool(value) => Ok(*value),
            Value::Int(Int::Small(value)) => Ok(*value != 0),
            _ => Err(self.wrong_type(name, "a truth value")),
        }
    }

    /// Returns a string.
    pub fn text(&self, name: &str) -> Result<&str, ExecError> {
        match self.value(name) {
            Value::Text(text) => {
                text.as_str().ok_or_else(|| self.wrong_type(name, "a string of Unicode text"))
            }
            _ => Err(self.wrong_type(name, "a string")),
        }
    }

    /// Returns a dtype, given as one or by its name.
    pub fn dtype(&self, name: &str) -> Result<DType, ExecError> {
        self.optional_dtype(name)?.ok_or_else(|| self.wrong_type(name, "a dtype"))
    }

    /// Returns a dtype as [`Bound::dtype`] does, or `None` for None.
    pub fn optional_dtype(&self, name: &str) -> Result<Option<DType>, ExecError> {
        let spelled = match self.value(name) {
            Value::None => return Ok(None),
            Value::DType(spelled) => spelled.as_str(),
            Value::Text(text) => text.as_str().unwrap_or_default(),
            _ => return Err(self.wrong_type(name, "a dtype")),
        };
        DType::from_torch_name(spelled).map(Some).ok_or_else(|| ExecError::ArgumentValue {
            argument: name.to_owned(),
            value: spelled.to_owned(),
            reason: "no dtype of that name is known".to_owned(),
        })
    }

    /// Fails if an argument is set to anything but None or false: the executor cannot do what it asks.
    pub fn refuse(&self, name: &str, reason: &str) -> Result<(), ExecError> {
        match &*self.number(name) {
            Value::None | Value::Bool(false) => Ok(()),
            _ if !self.is_given(name) => Ok(()),
            _ => Err(ExecError::Unsupported { argument: name.to_owned(), reason: reason.to_owned() }),
        }
    }
}

/// Reads a numpy scalar, which is recorded by the name of its class and its text; `None` for anything else.
///
/// A `numpy.float64` is not among them: it is a Python float too, and recorded as one.
fn numpy_scalar(value: &OwnedValue) -> Option<OwnedValue> {
    let Value::Opaque { class, repr } = value else {
        return None;
    };
    let text = repr.as_str()?;
    match class.as_str() {
        "float16" | "float32" => text.parse().ok().map(Value::Float),
        "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" | "uint64" => {
            text.parse().ok().map(Value::int)
        }
        "bool" | "bool_" => match text {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "x, y, eps=1e-6, mode='NONE', *, out=None, flag=False";

    fn bound<T>(arguments: &mut Arguments, read: impl FnOnce(&Bound<'_>) -> T) -> Result<T, ExecError> {
        let signature = Signature::parse(SIGNATURE);
        let bound = arguments.bind(&signature)?;
        Ok(read(&bound))
    }

    fn positional(values: &[i64]) -> Arguments {
        Arguments { positional: values.iter().map(|&v| Value::int(v)).collect(), keyword: Vec::new() }
    }

    #[test]
    fn position_and_name_reach_the_same_parameter() {
        let mut by_position = positional(&[1, 2]);
        let mut by_name = positional(&[]);
        by_name.keyword = vec![("y".into(), Value::int(2)), ("x".into(), Value::int(1))];
        for arguments in [&mut by_position, &mut by_name] {
            let read =
                bound(arguments, |b| (b.int("x").unwrap(), b.int("y").unwrap(), b.float("eps").unwrap()));
            assert_eq!(read.unwrap(), (1, 2, 1e-6));
        }
    }

    #[test]
    fn python_s_four_complaints_are_made() {
        let with = |name: &str, mut arguments: Arguments| {
            arguments.keyword.push((name.into(), Value::None));
            arguments
        };
        let error = |mut arguments: Arguments| bound(&mut arguments, |_| ()).unwrap_err().to_string();
        assert_eq!(error(positional(&[1])), "argument `y` is missing");
        assert_eq!(error(with("z", positional(&[1, 2]))), "there is no argument `z`");
        assert_eq!(error(with("x", positional(&[1, 2]))), "argument `x` is given twice");
        assert_eq!(error(positional(&[1, 2, 3, 4, 5])), "5 positional arguments, at most 4 are accepted");
    }

    fn opaque(class: &str, repr: &str) -> OwnedValue {
        Value::Opaque { class: class.to_owned(), repr: repr.into() }
    }

    #[test]
    fn numpy_scalars_are_read_as_the_numbers_that_they_are() {
        let read = |class: &str, repr: &str| {
            let mut arguments = positional(&[0]);
            arguments.positional.push(opaque(class, repr));
            bound(&mut arguments, |b| (b.float("y").ok(), b.int("y").ok(), b.flag("y").ok())).unwrap()
        };
        assert_eq!(read("float32", "1.5"), (Some(1.5), None, None));
        assert_eq!(read("float16", "1e-05"), (Some(1e-5), None, None));
        assert_eq!(read("float32", "-inf"), (Some(f32::NEG_INFINITY), None, None));
        assert!(read("float32", "nan").0.unwrap().is_nan());
        for class in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"] {
            assert_eq!(read(class, "7"), (Some(7.0), Some(7), Some(true)), "{class}");
        }
        for class in ["bool", "bool_"] {
            assert_eq!(read(class, "True"), (Some(1.0), Some(1), Some(true)), "{class}");
            assert_eq!(read(class, "False"), (Some(0.0), Some(0), Some(false)), "{class}");
        }
        for (class, repr) in [("float32", "much"), ("int64", "1.5"), ("bool", "1"), ("Decimal", "1.5")] {
            assert_eq!(read(class, repr), (None, None, None), "{class} {repr}");
        }
    }

    #[test]
    fn a_numpy_false_asks_for_nothing() {
        let mut arguments = positional(&[1, 2]);
        arguments.keyword.push(("flag".into(), opaque("bool", "False")));
        assert!(bound(&mut arguments, |b| b.refuse("flag", "no")).unwrap().is_ok());
    }

    #[test]
    fn a_value_of_another_type_is_named() {
        let mut arguments = positional(&[1, 2]);
        let error = bound(&mut arguments, |b| b.tensor("x").unwrap_err().to_string()).unwrap();
        assert_eq!(error, "argument `x` is a value of type int, expected a tensor");
        assert!(bound(&mut arguments, |b| b.refuse("flag", "no")).unwrap().is_ok());
    }
}
