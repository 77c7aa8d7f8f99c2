#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod cascade;
mod executor;
mod fp4;
mod gemm;
#[cfg(test)]
mod hostile;
mod kernels;
mod matmul;
mod norm;
mod numbers;
mod page;
mod rope;
mod rows;
mod sampling;
mod sum;
#[cfg(test)]
mod trial;

pub use executor::CpuExecutor;
pub use kernels::CpuKernels;
