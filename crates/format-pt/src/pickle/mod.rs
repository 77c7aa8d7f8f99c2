//! The pickle inside the container: a program for a small stack machine.
//!
//! Python's own machine can call any function by its name. This one knows the instructions that plain data and
//! tensors need, and [names](crate::torch_names) that stand for nothing but themselves.

mod machine;
mod opcode;
mod value;
mod write;

pub(crate) use machine::read;
pub(crate) use value::{Pickle, Tuple, Value};
pub(crate) use write::PickleWriter;
