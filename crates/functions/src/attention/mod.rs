//! Attention of queries to cached keys and values: of one sequence, or of a batch whose keys lie side by side
//! or in pages.
//!
//! [`Attention`] is what all of them ask for, with its formula. `sm_scale` is `1 / sqrt(d)` by default, and numbers
//! given as `q_scale` and `k_scale` multiply it. A custom mask says which keys are visible; else `causal` hides those
//! behind the query's place; and `window_left`, if it is not negative, hides those more than so many before it.
//!
//! The output is rounded once, to `o_dtype` (`o_data_type` of a plan), which is the dtype of the queries by default.
//! The log-sum-exp is f32, of base 2 unless `lse_base` says otherwise.

mod batch_decode;
mod batch_prefill;
mod indptr;
mod mask;
mod options;
mod paged;
mod plan;
mod problem;
mod ragged_prefill;
mod result;
mod rows;
mod scale;
mod single;
mod vectors;

pub use self::mask::{Bounds, MaskBits};
pub use self::options::PositionEncoding;
pub use self::problem::{Attended, Attention, Operands, Sequence, Tokens};
pub(crate) use self::rows::ROWS;
pub use self::scale::HeadScales;
pub use self::vectors::{Place, Vectors};
