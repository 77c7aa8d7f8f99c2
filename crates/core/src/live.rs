//! A call's arguments and result while it runs: its tensors are the caller's own.

use std::fmt;

use crate::text::Text;
use crate::value::{LiveValue, Value};

/// The arguments of a call that is about to run.
#[derive(Debug, Default)]
pub struct LiveArguments<'a> {
    /// Given by position; the object comes first where a method is called.
    pub positional: Vec<LiveValue<'a>>,
    /// Given by name.
    pub keyword: Vec<(&'static str, LiveValue<'a>)>,
    /// Identity of the object whose method is called, unique within the process while the object lives.
    pub self_id: Option<u64>,
}

/// What a call left behind when it returned.
#[derive(Debug)]
pub struct LiveResult<'a> {
    /// What it returned.
    pub value: LiveValue<'a>,
    /// The arguments that it wrote into, as they are now.
    pub written: Vec<(ArgumentPlace, LiveValue<'a>)>,
}

/// A result without arguments written in place.
impl<'a> From<LiveValue<'a>> for LiveResult<'a> {
    fn from(value: LiveValue<'a>) -> LiveResult<'a> {
        LiveResult { value, written: Vec::new() }
    }
}

/// Which argument of a call is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentPlace {
    /// By its position, from 0.
    Positional(usize),
    /// By its name.
    Keyword(&'static str),
}

/// Writes the argument's key in a record: `arg_2`, `kwarg_out`.
impl fmt::Display for ArgumentPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgumentPlace::Positional(position) => write!(f, "arg_{position}"),
            ArgumentPlace::Keyword(name) => write!(f, "kwarg_{name}"),
        }
    }
}

impl<'a> LiveArguments<'a> {
    /// Begins the arguments of a method: the object comes first, shown as Python shows one.
    pub fn of_object(class: &str, self_id: u64) -> LiveArguments<'a> {
        let repr = Text::from(format!("<{class} object at {self_id:#x}>"));
        let object = Value::Opaque { class: class.to_owned(), repr };
        LiveArguments { positional: vec![object], keyword: Vec::new(), self_id: Some(self_id) }
    }
}
