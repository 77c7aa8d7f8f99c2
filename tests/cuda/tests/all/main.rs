//! Each kernel, emulated, against the reference.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

mod activation;
mod attention;
mod conversions;
mod fp4;
mod gemm;
mod norm;
mod rope;
mod statistics;
mod trial;
