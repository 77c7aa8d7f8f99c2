#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod cascade;
mod executor;
mod factors;
mod fp4;
mod gemm;
mod kernels;
mod kv_layout;
mod norm;
mod operand;
mod output;
mod page;
mod rope;
mod rows;
mod sampling;
mod table;

pub use activation::{Activation, Gate};
pub use attention::{
    Attended, Attention, Bounds, HeadScales, MaskBits, Operands, Place, PositionEncoding, Sequence, Tokens,
    Vectors,
};
pub use cascade::{Merge, Merged, State, States};
pub use executor::FunctionExecutor;
pub use factors::Factors;
pub use fp4::{
    BlockScales, Fp4Codes, Fp4Product, Fp4Quantize, ScaleFormat, ScaleGrid, ScaleLayout, ScaleRule,
};
pub use gemm::{FactorOrder, Product, ProductSizes};
pub use kernels::{Kernel, Kernels};
pub use kv_layout::KvLayout;
pub use norm::{AddedAndNormed, FusedAddRmsNorm, Gain, LayerNorm, RmsNorm};
pub use page::{PageAppend, PageSlot};
pub use rope::{Angles, Frequencies, Pairing, Rope, Stretch, Turned};
pub use sampling::{Kept, MaskLogits, Renormalise, Softmax, TopK};
pub use table::function_names;
