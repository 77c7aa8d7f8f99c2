//! What the kernels for the CPU make of a case.

use callbox_core::{DType, Executor, FunctionName, TensorBuf, Value};
use callbox_kernels_cpu::CpuExecutor;

use super::case::{Case, Encoding, Function, MaskKind};
use crate::trial::{Call, ints, tensors};

/// Returns the output `[rows, qo_heads, width_vo]` and the log-sum-exp `[rows, qo_heads]`.
pub(super) fn run(case: &Case) -> [TensorBuf; 2] {
    let results = match case.function {
        Function::SingleDecode => single_decode(case),
        Function::SinglePrefill => single_prefill(case),
        Function::BatchDecode | Function::BatchPrefill | Function::RaggedPrefill => wrapper(case),
    };
    let [out, lse] = results.try_into().unwrap();
    let heads = [case.rows(), case.qo_heads()];
    [(out, [heads[0], heads[1], case.width_vo].to_vec()), (lse, heads.to_vec())]
        .map(|(tensor, shape)| TensorBuf::from_elements(tensor.dtype(), &shape, tensor.to_bytes()).unwrap())
}

fn single_decode(case: &Case) -> Vec<TensorBuf> {
    let queries = case.queries();
    let shape = [case.qo_heads(), case.width];
    let query = TensorBuf::from_elements(case.dtype, &shape, queries.to_bytes()).unwrap();
    let [keys, values] = case.keys_and_values();
    let call = Call::default().with(&query).with(&keys).with(&values).named("kv_layout", case.layout);
    scaled(case, options(case, call), &["q_scale", "k_scale", "v_scale"]).of("single_decode_with_kv_cache")
}

fn single_prefill(case: &Case) -> Vec<TensorBuf> {
    let [keys, values] = case.keys_and_values();
    let call = Call::default().with(&case.queries()).with(&keys).with(&values);
    let call = masked(case, call.named("kv_layout", case.layout), &[case.rows(), case.kv_len()[0]]);
    let mut call = scaled(case, options(case, call), &["", "k_scale", "v_scale"]);
    if case.head_scales {
        call = call
            .named("scale_q", &case.per_head(case.qo_heads(), 3))
            .named("scale_k", &case.per_head(case.kv_heads, 4))
            .named("scale_v", &case.per_head(case.kv_heads, 5));
    }
    call.of("single_prefill_with_kv_cache")
}

fn wrapper(case: &Case) -> Vec<TensorBuf> {
    let class = match case.function {
        Function::BatchDecode => "BatchDecodeWithPagedKVCacheWrapper",
        Function::BatchPrefill => "BatchPrefillWithPagedKVCacheWrapper",
        _ => "BatchPrefillWithRaggedKVCacheWrapper",
    };
    let workspace = TensorBuf::from_elements(DType::UInt8, &[1], vec![0]).unwrap();
    let mut arguments = Call::default().with(&workspace).with(case.layout).into_arguments();
    let name = FunctionName::new("flashinfer", format!("{class}.__init__"));
    let mut instance = CpuExecutor.construct(&name, &mut arguments).unwrap();
    instance.call("plan", &mut plan(case).into_arguments()).unwrap();
    tensors(instance.call("run", &mut run_call(case).into_arguments()).unwrap())
}

fn plan(case: &Case) -> Call {
    let qo_indptr = Case::indptr(case.q_len().iter().copied());
    let pages = case.pages();
    let indices: Vec<i32> = pages.concat().into_iter().chain([i32::MAX]).collect();
    let page_bounds = Case::indptr(pages.iter().map(Vec::len));
    let call = match case.function {
        Function::BatchDecode => Call::default(),
        _ => Call::default().with(&qo_indptr),
    };
    let call = match case.function {
        Function::RaggedPrefill => call.with(&Case::indptr(case.kv_len().iter().copied())),
        _ => call.with(&page_bounds).with(&ints(&indices)).with(&case.last_page_len()),
    };
    let call = call.with(case.qo_heads()).with(case.kv_heads).with(case.width);
    let call = if case.is_paged() { call.with(case.page_size) } else { call };
    let call = match case.function {
        Function::BatchDecode => call,
        _ => call.named("head_dim_vo", case.width_vo),
    };
    let numel = case.mask_bits().iter().map(Vec::len).sum();
    options(case, masked(case, call.named("q_data_type", case.dtype), &[numel]))
}

fn run_call(case: &Case) -> Call {
    let [keys, values] = case.keys_and_values();
    let call = Call::default().with(&case.queries());
    let call = match case.function {
        Function::RaggedPrefill => call.with(&keys).with(&values),
        _ => call.with(Value::tuple(vec![Value::Tensor(keys), Value::Tensor(values)])),
    };
    let call = if case.sinks { call.named("sinks", &case.per_head(case.qo_heads(), 2)) } else { call };
    scaled(case, call, &["q_scale", "k_scale", "v_scale"]).named("return_lse", true)
}

/// The options that all functions take, and plans too.
fn options(case: &Case, call: Call) -> Call {
    let call = call.named("window_left", case.window_left).named("logits_soft_cap", case.soft_cap);
    let call = match case.sm_scale {
        Some(scale) => call.named("sm_scale", scale),
        None => call,
    };
    let call = match case.function {
        Function::SingleDecode => call.named("return_lse", true),
        Function::SinglePrefill => call.named("return_lse", true).named("o_dtype", case.out_dtype()),
        _ => call.named("o_data_type", case.out_dtype()),
    };
    match case.encoding {
        Encoding::None => call,
        Encoding::Alibi => call.named("pos_encoding_mode", "ALIBI"),
        Encoding::Rope { theta, scale } => call
            .named("pos_encoding_mode", "ROPE_LLAMA")
            .named("rope_theta", theta)
            .named("rope_scale", scale),
    }
}

fn masked(case: &Case, call: Call, shape: &[usize]) -> Call {
    match case.mask {
        MaskKind::None => call,
        MaskKind::Causal => call.named("causal", true),
        MaskKind::Custom => {
            let bits = case.mask_bits().concat().into_iter().map(u8::from).collect();
            call.named("custom_mask", &TensorBuf::from_elements(DType::Bool, shape, bits).unwrap())
        }
        MaskKind::Packed => {
            let bytes = case.packed_mask().concat();
            let tensor = TensorBuf::from_elements(DType::UInt8, &[bytes.len()], bytes).unwrap();
            call.named("packed_custom_mask", &tensor)
        }
    }
}

fn scaled(case: &Case, call: Call, names: &[&str; 3]) -> Call {
    let Some(scales) = case.scales else {
        return call;
    };
    let given = names.iter().zip(scales).filter(|(name, _)| !name.is_empty());
    given.fold(call, |call, (name, scale)| call.named(name, scale))
}
