#![doc = include_str!("../README.md")]

pub mod flashinfer;
pub mod random;
