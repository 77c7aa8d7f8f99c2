#![doc = include_str!("../README.md")]

mod activation;
mod executor;
mod factors;
mod kernels;
mod kv_layout;
mod norm;
mod operand;
mod output;
mod rows;
mod table;

pub use activation::{Activation, Gate};
pub use executor::FunctionExecutor;
pub use factors::Factors;
pub use kernels::{Kernel, Kernels};
pub use norm::{AddedAndNormed, FusedAddRmsNorm, Gain, LayerNorm, RmsNorm};
pub use table::function_names;
