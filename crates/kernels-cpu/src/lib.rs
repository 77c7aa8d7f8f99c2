#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod cascade;
mod executor;
mod fp4;
mod gemm;
#[cfg(test)]
mod hostile;
mod kv_layout;
mod matmul;
mod norm;
mod operand;
mod output;
mod page;
mod rope;
mod rows;
mod sampling;
mod sum;
mod table;
#[cfg(test)]
mod trial;

pub use executor::CpuExecutor;
