//! Attention of queries to cached keys and values: of one sequence, or of a batch whose keys lie side by side
//! or in pages.
//!
//! `q` `[rows, qo_heads, d]`, `k` `[kv_len, kv_heads, d]`, `v` `[kv_len, kv_heads, d_vo]`, of any float dtypes;
//! `qo_heads` is a multiple of `kv_heads`, and neighbouring query heads share a kv head (Ainslie et al., "GQA",
//! 2023). For query row `i` of `n` and key `j`, both of one sequence, and each query head:
//!
//! ```text
//! x[i,j] = dot(q[i], k[j]) * sm_scale * q_scale * k_scale        sm_scale is 1 / sqrt(d) by default
//! x[i,j] = x[i,j] + slope * (j - i)                              with pos_encoding_mode ALIBI
//! x[i,j] = cap * tanh(x[i,j] / cap)                              with a logits_soft_cap > 0
//! w[i,j] = exp(x[i,j]) where j is visible to i, else 0
//! o[i]   = sum_j w[i,j] * v[j] * v_scale / (sum_j w[i,j] + exp(sink))
//! lse[i] = log2(sum_j w[i,j] + exp(sink))                        without v_scale; exp(sink) only with sinks
//! ```
//!
//! With ROPE_LLAMA, `q[i]` and `k[j]` turn before the product. Query `i` stands at the place of key
//! `i + kv_len - n`. A custom mask says which keys are visible; else `causal` hides those behind the query's
//! place; and `window_left`, if it is not negative, hides those more than so many before it. A row that sees
//! nothing, of an empty sequence say, gives 0 and -inf.
//!
//! All is computed in f32. The output is rounded once, to `o_dtype` (`o_data_type` of a plan), which is the dtype
//! of the queries by default. The log-sum-exp is f32, of base 2 unless `lse_base` says otherwise.

mod batch_decode;
mod batch_prefill;
mod indptr;
mod kernel;
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
mod softmax;
#[cfg(test)]
mod tests;
mod vectors;

pub(crate) use rows::ROWS;
