//! Each kernel, emulated, against the reference.

mod activation;
mod attention;
mod conversions;
mod fp4;
mod gemm;
mod norm;
mod rope;
mod statistics;
mod trial;
