//! What the machine builds.

use crate::torch_names::{Name, Rebuild};

/// A value; copying it copies no data. Texts lie in the pickle, items of tuples and containers in the
/// [`Pickle`], so that a value that is mentioned a thousand times is there once, and nothing is nested in
/// memory however deeply it is nested in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A float; no tensor's description needs its value.
    Float,
    /// Text as its bytes; Python lets through what is not quite UTF-8.
    Text(&'a [u8]),
    Name(Name),
    Tuple(Tuple),
    List(Container),
    Dict(Container),
    /// A reference to something outside the pickle: a storage.
    Persistent(Tuple),
    /// A tensor to be built from its parts.
    Tensor(Rebuild, Tuple),
}

impl Value<'_> {
    /// Names the kind of value for a message, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "an int",
            Value::Float => "a float",
            Value::Text(_) => "a str",
            Value::Name(_) => "a class or function",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dict",
            Value::Persistent(_) => "a storage",
            Value::Tensor(..) => "a tensor",
        }
    }
}

/// Place of a tuple's items in the pickle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuple {
    start: usize,
    len: usize,
}

/// Place of a list or dict in the pickle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Container(usize);

/// The value that a pickle describes, with everything that it refers to.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    /// The value itself.
    pub(crate) top: Value<'a>,
    pub(super) items: Items<'a>,
}

impl<'a> Pickle<'a> {
    /// Returns a tuple's items.
    pub(crate) fn tuple(&self, tuple: Tuple) -> &[Value<'a>] {
        &self.items.tuples[tuple.start..tuple.start + tuple.len]
    }

    /// Returns a dict's entries in the order in which they were set.
    pub(crate) fn dict(&self, dict: Container) -> &[[Value<'a>; 2]] {
        self.items.containers[dict.0].as_chunks().0
    }
}

/// The items of all tuples, lists and dicts.
#[derive(Debug, Default)]
pub(super) struct Items<'a> {
    tuples: Vec<Value<'a>>,
    /// A dict's keys and values take turns.
    containers: Vec<Vec<Value<'a>>>,
}

impl<'a> Items<'a> {
    pub(super) fn new_tuple(&mut self, items: &[Value<'a>]) -> Tuple {
        let start = self.tuples.len();
        self.tuples.extend(items);
        Tuple { start, len: items.len() }
    }

    pub(super) fn tuple(&self, tuple: Tuple) -> &[Value<'a>] {
        &self.tuples[tuple.start..tuple.start + tuple.len]
    }

    pub(super) fn new_container(&mut self) -> Container {
        self.containers.push(Vec::new());
        Container(self.containers.len() - 1)
    }

    pub(super) fn extend(&mut self, container: Container, items: &[Value<'a>]) {
        self.containers[container.0].extend(items);
    }
}
