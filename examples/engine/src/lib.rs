#![doc = include_str!("../README.md")]

pub mod model;
pub mod tensor;

pub use model::{Decoder, matmul, rms_norm};
pub use tensor::{ShapeError, Tensor};

/// What can be replayed: the annotated functions, one line each.
pub fn registry() -> callbox::Registry {
    callbox::registry![rms_norm, matmul, Decoder]
}
