#![doc = include_str!("../README.md")]

mod decode;
mod dtype;
mod encode;
mod header;
mod serializer;

pub use serializer::SafetensorsSerializer;
