#![doc = include_str!("../README.md")]

mod container;
mod cursor;
mod decode;
mod encode;
mod pickle;
mod serializer;
mod storages;
mod tensor;
mod torch_names;

pub use serializer::PtSerializer;
