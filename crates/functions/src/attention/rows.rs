//! The rows of this family.

use callbox_core::{Bound, Contract, ExecError, OwnedValue, ResultRule};

use super::{batch_decode, batch_prefill, ragged_prefill, single};
use crate::kernels::{Kernel, Kernels};
use crate::table::{Function, Run, Wrapper};

/// An output, and a log-sum-exp if it is asked for.
const RETURNS: Contract = Contract { writes: &[], results: &[ResultRule::Values, ResultRule::LogSumExp] };

/// The same, in `out` and `lse` where those are given.
const WRITES: Contract = Contract { writes: &["out", "lse"], ..RETURNS };

const NOTHING: Contract = Contract { writes: &[], results: &[ResultRule::Values] };

pub(crate) const ROWS: &[Function] = &[
    Function {
        name: "single_decode_with_kv_cache",
        signature: "q, k, v, kv_layout='NHD', pos_encoding_mode='NONE', use_tensor_cores=False, q_scale=None, \
                    k_scale=None, v_scale=None, window_left=-1, logits_soft_cap=None, sm_scale=None, \
                    rope_scale=None, rope_theta=None, return_lse=False",
        contract: RETURNS,
        kernel: Kernel::Attend,
        run: Run::Function(single::decode),
    },
    Function {
        name: "single_prefill_with_kv_cache",
        signature: "q, k, v, scale_q=None, scale_k=None, scale_v=None, o_dtype=None, custom_mask=None, \
                    packed_custom_mask=None, causal=False, kv_layout='NHD', pos_encoding_mode='NONE', \
                    use_fp16_qk_reduction=False, sm_scale=None, window_left=-1, logits_soft_cap=None, \
                    rope_scale=None, rope_theta=None, backend='auto', return_lse=False, kv_cache_sf=None, \
                    k_scale=None, v_scale=None",
        contract: RETURNS,
        kernel: Kernel::Attend,
        run: Run::Function(single::prefill),
    },
    Function {
        name: "BatchDecodeWithPagedKVCacheWrapper.__init__",
        signature: "float_workspace_buffer, kv_layout='NHD', use_cuda_graph=False, use_tensor_cores=False, \
                    paged_kv_indptr_buffer=None, paged_kv_indices_buffer=None, \
                    paged_kv_last_page_len_buffer=None, backend='auto', jit_args=None",
        contract: NOTHING,
        kernel: Kernel::Attend,
        run: Run::Constructor(batch_decode::construct),
    },
    Function {
        name: "BatchDecodeWithPagedKVCacheWrapper.plan",
        signature: "indptr, indices, last_page_len, num_qo_heads, num_kv_heads, head_dim, page_size, \
                    pos_encoding_mode='NONE', window_left=-1, logits_soft_cap=None, q_data_type='float16', \
                    kv_data_type=None, o_data_type=None, data_type=None, sm_scale=None, rope_scale=None, \
                    rope_theta=None, non_blocking=True, block_tables=None, seq_lens=None, \
                    fixed_split_size=None, disable_split_kv=False, q_len_per_req=1, *, window_right=0, \
                    is_causal=None",
        contract: NOTHING,
        kernel: Kernel::Attend,
        run: Run::Method(plan),
    },
    Function {
        name: "BatchDecodeWithPagedKVCacheWrapper.run",
        signature: "q, paged_kv_cache, *args, q_scale=None, k_scale=None, v_scale=None, out=None, lse=None, \
                    return_lse=False, enable_pdl=None, window_left=None, sinks=None, q_len_per_req=None, \
                    skip_softmax_threshold_scale_factor=None, kv_cache_sf=None",
        contract: WRITES,
        kernel: Kernel::Attend,
        run: Run::Method(run),
    },
    Function {
        name: "BatchPrefillWithPagedKVCacheWrapper.__init__",
        signature: "float_workspace_buffer, kv_layout='NHD', use_cuda_graph=False, qo_indptr_buf=None, \
                    paged_kv_indptr_buf=None, paged_kv_indices_buf=None, paged_kv_last_page_len_buf=None, \
                    custom_mask_buf=None, mask_indptr_buf=None, backend='auto', jit_args=None, \
                    jit_kwargs=None, variant_owns_mask=False",
        contract: NOTHING,
        kernel: Kernel::Attend,
        run: Run::Constructor(batch_prefill::construct),
    },
    Function {
        name: "BatchPrefillWithPagedKVCacheWrapper.plan",
        signature: "qo_indptr, paged_kv_indptr, paged_kv_indices, paged_kv_last_page_len, num_qo_heads, \
                    num_kv_heads, head_dim_qk, page_size, head_dim_vo=None, custom_mask=None, \
                    packed_custom_mask=None, causal=False, pos_encoding_mode='NONE', \
                    use_fp16_qk_reduction=False, sm_scale=None, window_left=-1, logits_soft_cap=None, \
                    rope_scale=None, rope_theta=None, q_data_type='float16', kv_data_type=None, \
                    o_data_type=None, non_blocking=True, prefix_len_ptr=None, token_pos_in_items_ptr=None, \
                    token_pos_in_items_len=0, max_item_len_ptr=None, seq_lens=None, seq_lens_q=None, \
                    block_tables=None, max_token_per_sequence=None, max_sequence_kv=None, \
                    fixed_split_size=None, disable_split_kv=False, uniform_q_len=None",
        contract: NOTHING,
        kernel: Kernel::Attend,
        run: Run::Method(plan),
    },
    Function {
        name: "BatchPrefillWithPagedKVCacheWrapper.run",
        signature: "q, paged_kv_cache, *args, q_scale=None, k_scale=None, v_scale=None, out=None, lse=None, \
                    return_lse=False, lse_base='log2', lse_layout='NH', enable_pdl=None, window_left=None, \
                    sinks=None, kv_cache_sf=None, skip_softmax_threshold_scale_factor=None, \
                    use_fp16_softmax=None, uses_spcompress=None",
        contract: WRITES,
        kernel: Kernel::Attend,
        run: Run::Method(run),
    },
    Function {
        name: "BatchPrefillWithRaggedKVCacheWrapper.__init__",
        signature: "float_workspace_buffer, kv_layout='NHD', use_cuda_graph=False, qo_indptr_buf=None, \
                    kv_indptr_buf=None, custom_mask_buf=None, mask_indptr_buf=None, backend='auto', \
                    jit_args=None, jit_kwargs=None, variant_owns_mask=False",
        contract: NOTHING,
        kernel: Kernel::Attend,
        run: Run::Constructor(ragged_prefill::construct),
    },
    Function {
        name: "BatchPrefillWithRaggedKVCacheWrapper.plan",
        signature: "qo_indptr, kv_indptr, num_qo_heads, num_kv_heads, head_dim_qk, head_dim_vo=None, \
                    custom_mask=None, packed_custom_mask=None, causal=False, pos_encoding_mode='NONE', \
                    use_fp16_qk_reduction=False, window_left=-1, logits_soft_cap=None, sm_scale=None, \
                    rope_scale=None, rope_theta=None, q_data_type='float16', kv_data_type=None, \
                    o_data_type=None, non_blocking=True, prefix_len_ptr=None, token_pos_in_items_ptr=None, \
                    token_pos_in_items_len=0, max_item_len_ptr=None, fixed_split_size=None, \
                    disable_split_kv=False, seq_lens=None, seq_lens_q=None, max_token_per_sequence=None, \
                    max_sequence_kv=None, v_indptr=None, o_indptr=None, uniform_q_len=None",
        contract: NOTHING,
        kernel: Kernel::Attend,
        run: Run::Method(plan),
    },
    Function {
        name: "BatchPrefillWithRaggedKVCacheWrapper.run",
        signature: "q, k, v, *args, q_scale=None, k_scale=None, v_scale=None, o_scale=None, out=None, lse=None, \
                    return_lse=False, lse_base='log2', lse_layout='NH', enable_pdl=None, kv_cache_sf=None",
        contract: WRITES,
        kernel: Kernel::Attend,
        run: Run::Method(run),
    },
];

fn plan(
    wrapper: &mut dyn Wrapper,
    _: &mut dyn Kernels,
    arguments: &mut Bound<'_>,
) -> Result<OwnedValue, ExecError> {
    wrapper.plan(arguments)
}

fn run(
    wrapper: &mut dyn Wrapper,
    kernels: &mut dyn Kernels,
    arguments: &mut Bound<'_>,
) -> Result<OwnedValue, ExecError> {
    wrapper.run(kernels, arguments)
}
