//! Arguments that do not fit: an error each, which names the argument, what it is and what was expected.

use callbox_core::{Bytes, DType, ExecError, Layout, OwnedValue, TensorBuf, Value};

use super::object::{Object, arguments, with_sizes};
use crate::trial::{self, Trial, ints, vector};

const DECODE: &str = "BatchDecodeWithPagedKVCacheWrapper";
const PAGED: &str = "BatchPrefillWithPagedKVCacheWrapper";
const RAGGED: &str = "BatchPrefillWithRaggedKVCacheWrapper";

fn half(shape: &[usize]) -> TensorBuf {
    trial::random(DType::Float16, shape, 1)
}

/// A tensor of any size over one element.
fn expanded(shape: &[usize]) -> TensorBuf {
    let layout = Layout::new(shape, &vec![0; shape.len()], 0).unwrap();
    TensorBuf::new(DType::Float16, layout, Bytes::from(vec![0; 2])).unwrap()
}

#[track_caller]
fn check<T>(result: Result<T, ExecError>, message: &str) {
    let error = match result {
        Ok(_) => panic!("no error, where there should be: {message}"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(message), "{error}\nwhere there should be\n{message}");
}

fn single(function: &str, q: TensorBuf, k: TensorBuf, v: TensorBuf) -> Trial {
    trial::call(function).with(q).with(k).with(v)
}

fn prefill() -> Trial {
    let kv = || half(&[5, 2, 8]);
    single("single_prefill_with_kv_cache", half(&[3, 4, 8]), kv(), kv())
}

#[test]
fn shapes_that_do_not_fit_each_other() {
    let check = |q: &[usize], k: &[usize], v: &[usize], message: &str| {
        let trial = single("single_prefill_with_kv_cache", half(q), half(k), half(v));
        check(trial.run(), message);
    };
    let kv: &[usize] = &[5, 2, 8];
    check(&[4, 8], kv, kv, "`q` has shape [4, 8], expected [tokens, heads, d] (NHD)");
    check(&[3, 4, 8], &[5, 8], kv, "`k` has shape [5, 8], expected [tokens, heads, d] (NHD)");
    check(&[3, 4, 8], &[5, 2, 7], kv, "`k` has shape [5, 2, 7], expected heads of 8 elements, as `q`");
    check(
        &[3, 4, 8],
        &[5, 3, 8],
        &[5, 3, 8],
        "`k` has shape [5, 3, 8], expected a number of heads that divides the 4 of `q`",
    );
    check(&[3, 4, 8], &[5, 0, 8], &[5, 0, 8], "`k` has shape [5, 0, 8]");
    check(
        &[3, 4, 8],
        kv,
        &[6, 2, 8],
        "`v` has shape [6, 2, 8], expected tokens and heads as the keys, [5, 2, 8]",
    );
    check(&[3, 4, 8], kv, &[5, 2, 0], "`v` has shape [5, 2, 0]");
    check(
        &[3, 4, 0],
        &[5, 2, 0],
        kv,
        "`q` has shape [3, 4, 0], expected at least one head of at least one element",
    );
    check(&[3, 0, 8], kv, kv, "`q` has shape [3, 0, 8]");
    super::errors::check(
        single("single_decode_with_kv_cache", half(&[1, 4, 8]), half(kv), half(kv)).run(),
        "`q` has shape [1, 4, 8], expected [heads, d]",
    );
}

#[test]
fn options_that_are_not_known() {
    check(prefill().named("kv_layout", "NDH").run(), "`kv_layout` is NDH: expected NHD or HND");
    check(
        prefill().named("pos_encoding_mode", "SINE").run(),
        "`pos_encoding_mode` is SINE: expected NONE, ROPE_LLAMA or ALIBI",
    );
    check(
        prefill().named("o_dtype", "float17").run(),
        "`o_dtype` is float17: no dtype of that name is known",
    );
    check(
        prefill().named("scale_q", vector(DType::Float32, &[1.0; 3])).run(),
        "`scale_q` has shape [3], expected [4], one factor for each head",
    );
    check(
        prefill().named("scale_k", "half").run(),
        "`scale_k` is a value of type str, expected a number or a tensor of factors",
    );
    check(
        prefill().named("v_scale", vector(DType::Float32, &[1.0; 2])).run(),
        "`v_scale` has shape [2], expected one element",
    );
}

#[test]
fn a_rotation_needs_halves() {
    let kv = || half(&[5, 2, 7]);
    let trial = single("single_prefill_with_kv_cache", half(&[3, 4, 7]), kv(), kv());
    check(
        trial.named("pos_encoding_mode", "ROPE_LLAMA").run(),
        "`pos_encoding_mode` is ROPE_LLAMA: heads of 7 elements have no halves to turn",
    );
}

#[test]
fn masks_of_another_size() {
    check(
        prefill().named("custom_mask", trial::byte_tensor(&[14], &[1; 14])).run(),
        "`custom_mask` has shape [14], expected 15 elements, queries x keys of each sequence",
    );
    check(
        prefill().named("packed_custom_mask", trial::byte_tensor(&[3], &[1; 3])).run(),
        "`packed_custom_mask` has shape [3], expected 2 elements",
    );
    check(
        prefill().named("packed_custom_mask", ints(&[1, 1])).run(),
        "`packed_custom_mask` is a tensor of torch.int32, expected a tensor of uint8",
    );
}

#[test]
fn dtypes_that_are_no_floats() {
    let codes = trial::byte_tensor(&[5, 2, 8], &[0; 80]);
    let trial = single("single_prefill_with_kv_cache", half(&[3, 4, 8]), codes, half(&[5, 2, 8]));
    check(trial.run(), "`k` is a tensor of torch.uint8, expected a tensor of floats");
}

#[test]
fn what_only_other_kernels_can_do() {
    let tensor = || half(&[1]);
    check(
        prefill().named("kv_cache_sf", tensor()).run(),
        "`kv_cache_sf` asks for something that is not supported: NVFP4",
    );
    for class in [DECODE, PAGED, RAGGED] {
        let given = arguments().with(tensor()).named("jit_args", Value::List(Vec::new()));
        check(Object::build(class, given).map(|_| ()), "`jit_args` asks for");
        check(Object::build(class, arguments().with(tensor()).with("NDH")).map(|_| ()), "`kv_layout` is NDH");
    }
    for name in ["prefix_len_ptr", "token_pos_in_items_ptr", "max_item_len_ptr"] {
        check(
            Object::new(RAGGED, "NHD").plan(ragged_plan().named(name, tensor())),
            &format!("`{name}` asks for something that is not supported: multi-item scoring"),
        );
    }
    for name in ["v_indptr", "o_indptr"] {
        check(
            Object::new(RAGGED, "NHD").plan(ragged_plan().named(name, ints(&[0, 3]))),
            &format!("`{name}` asks for"),
        );
    }
    for name in ["kv_cache_sf", "o_scale"] {
        let run = ragged_run().named(name, tensor());
        check(planned(RAGGED, ragged_plan()).run(run), &format!("`{name}` asks for"));
    }
    for name in ["kv_cache_sf", "skip_softmax_threshold_scale_factor", "uses_spcompress"] {
        let run = paged_run().named(name, tensor());
        check(planned(PAGED, paged_plan()).run(run), &format!("`{name}` asks for"));
    }
}

/// Two sequences of 3 and 0 pages of 4 tokens; 11 tokens.
fn decode_plan() -> Trial {
    decode_plan_of(&[0, 3, 3], &[4, 0, 2], &[3, 9], [4, 2, 8, 4])
}

fn decode_plan_of(indptr: &[i32], indices: &[i32], last: &[i32], sizes: [i64; 4]) -> Trial {
    let given = arguments().with(ints(indptr)).with(ints(indices)).with(ints(last));
    with_sizes(given, sizes)
}

fn cache() -> TensorBuf {
    half(&[5, 2, 4, 2, 8])
}

fn decode_run(q: &[usize], cache: impl trial::Argument) -> Trial {
    arguments().with(half(q)).with(cache)
}

fn paged_plan() -> Trial {
    paged_plan_of(&[0, 2, 3])
}

fn paged_plan_of(qo_indptr: &[i32]) -> Trial {
    let given =
        arguments().with(ints(qo_indptr)).with(ints(&[0, 3, 3])).with(ints(&[4, 0, 2])).with(ints(&[3, 9]));
    with_sizes(given, [4, 2, 8, 4])
}

fn paged_run() -> Trial {
    arguments().with(half(&[3, 4, 8])).with(cache())
}

fn ragged_plan() -> Trial {
    ragged_plan_of(&[0, 2, 3], &[0, 4, 5])
}

fn ragged_plan_of(qo_indptr: &[i32], kv_indptr: &[i32]) -> Trial {
    let given = arguments().with(ints(qo_indptr)).with(ints(kv_indptr));
    with_sizes(given, [4, 2, 8])
}

fn ragged_run() -> Trial {
    let kv = || half(&[5, 2, 8]);
    arguments().with(half(&[3, 4, 8])).with(kv()).with(kv())
}

fn planned(class: &str, plan: Trial) -> Object {
    let mut object = Object::new(class, "NHD");
    object.plan(plan).unwrap();
    object
}

#[test]
fn page_tables_that_cannot_be() {
    let check = |indptr: &[i32], indices: &[i32], last: &[i32], page_size: i64, message: &str| {
        let plan = decode_plan_of(indptr, indices, last, [4, 2, 8, page_size]);
        check(Object::new(DECODE, "NHD").plan(plan), message);
    };
    check(&[0, 2, 1], &[0, 1], &[1, 1], 4, "`indptr` is [.., 2, 1, ..]");
    check(&[-1, 2], &[0, 1], &[1], 4, "`indptr` is [.., -1, 2, ..]");
    check(&[], &[0, 1], &[], 4, "`indptr` has shape [0], expected [batch + 1]");
    check(&[0, 3], &[0, 1], &[1], 4, "`indptr` is [.., 3]: `indices` has only 2");
    check(&[0, 2], &[0, -7], &[1], 4, "`indices` is -7: a page index cannot be negative");
    check(
        &[0, 2],
        &[0, 1],
        &[1, 1],
        4,
        "`last_page_len` has shape [2], expected [1], one for each of the sequences of `indptr`",
    );
    check(&[0, 2], &[0, 1], &[5], 4, "`last_page_len` is 5: a page holds 4 tokens");
    check(&[0, 2], &[0, 1], &[-1], 4, "`last_page_len` is -1");
    check(&[0, 2], &[0, 1], &[1], 0, "`page_size` is 0");
    check(&[0, 2], &[0, 1], &[1], -4, "`page_size` is -4: a size cannot be negative");
    check(
        &[0, 2],
        &[0, 1],
        &[1],
        i64::MAX,
        "`indptr` is [.., a sequence of 2 pages, ..]: with pages of 9223372036854775807 tokens",
    );
}

#[test]
fn plans_that_cannot_be() {
    let check = |plan: Trial, message: &str| check(Object::new(DECODE, "NHD").plan(plan), message);
    let sizes = |sizes| decode_plan_of(&[0, 3, 3], &[4, 0, 2], &[3, 9], sizes);
    check(sizes([4, 3, 8, 4]), "`num_qo_heads` is 4: expected a multiple of `num_kv_heads`, 3");
    check(sizes([4, 0, 8, 4]), "`num_qo_heads` is 4");
    check(sizes([-4, 2, 8, 4]), "`num_qo_heads` is -4");
    check(decode_plan().named("q_data_type", 3i64), "`q_data_type` is a value of type int, expected a dtype");
    check(decode_plan().named("o_data_type", "float15"), "`o_data_type` is float15");
    check(decode_plan().named("window", 3i64), "there is no argument `window`");
}

#[test]
fn prefill_plans_that_cannot_be() {
    check(
        Object::new(PAGED, "NHD").plan(paged_plan_of(&[0, 3])),
        "`qo_indptr` has shape [2], expected [3], as `paged_kv_indptr` has it",
    );
    check(
        Object::new(RAGGED, "NHD").plan(ragged_plan_of(&[0, 2, 3], &[0, 5, 4])),
        "`kv_indptr` is [.., 5, 4, ..]",
    );
    check(Object::new(RAGGED, "NHD").plan(ragged_plan().named("head_dim_vo", -1i64)), "`head_dim_vo` is -1");
    // 2 x 4 and 1 x 1 pairs.
    check(
        Object::new(RAGGED, "NHD")
            .plan(ragged_plan().named("custom_mask", trial::byte_tensor(&[8], &[1; 8]))),
        "`custom_mask` has shape [8], expected 9 elements",
    );
    check(
        Object::new(RAGGED, "NHD")
            .plan(ragged_plan().named("packed_custom_mask", trial::byte_tensor(&[3], &[1; 3]))),
        "`packed_custom_mask` has shape [3], expected 2 elements",
    );
}

#[test]
fn runs_that_do_not_fit_their_plan() {
    let check = |run: Trial, message: &str| check(planned(DECODE, decode_plan()).run(run), message);
    check(
        decode_run(&[3, 4, 8], cache()),
        "`q` has shape [3, 4, 8], expected as many rows for each of the 2 sequences",
    );
    check(decode_run(&[2, 4, 8], cache()).named("q_len_per_req", 2i64), "`q` has shape [2, 4, 8]");
    check(
        decode_run(&[2, 2, 8], cache()),
        "`q` has shape [2, 2, 8], expected 4 heads of 8 elements, as planned",
    );
    check(
        decode_run(&[2, 4, 8], half(&[5, 2, 4, 1, 8])),
        "`paged_kv_cache` has shape [5, 2, 4, 1, 8], expected 2 heads of 8 elements, as planned",
    );
    check(
        decode_run(&[2, 4, 8], half(&[5, 2, 16, 2, 8])),
        "`paged_kv_cache` has shape [5, 2, 16, 2, 8], expected pages of 4 tokens, as planned",
    );
    check(decode_run(&[2, 4, 8], half(&[4, 2, 4, 2, 8])), "`indices` is 4: `paged_kv_cache` has 4 pages");
    check(
        decode_run(&[2, 4, 8], half(&[5, 3, 4, 2, 8])),
        "`paged_kv_cache` has shape [5, 3, 4, 2, 8], expected [pages, 2, page_size, heads, d] (NHD)",
    );
    check(
        decode_run(&[2, 4, 8], cache()).named("window_left", 3i64),
        "`window_left` is 3: plan was called with -1",
    );
    check(
        decode_run(&[2, 4, 8], cache()).named("sinks", vector(DType::Float32, &[1.0; 2])),
        "`sinks` has shape [2], expected [4], one logit for each query head",
    );
    check(
        decode_run(&[2, 4, 8], cache()).named("out", half(&[2, 4, 7])),
        "`out` has shape [2, 4, 7], expected [2, 4, 8]",
    );
    check(
        decode_run(&[2, 4, 8], cache()).named("return_lse", true).named("lse", half(&[2, 4])),
        "`lse` is a tensor of torch.float16, expected a tensor of float32",
    );
}

#[test]
fn caches_that_are_no_pair() {
    let half_cache = || Value::Tensor(half(&[5, 4, 2, 8]));
    let check = |cache: OwnedValue, message: &str| {
        check(planned(DECODE, decode_plan()).run(decode_run(&[2, 4, 8], cache)), message);
    };
    let expected = "expected a tensor or a tuple of two tensors";
    check(Value::List(vec![half_cache(), half_cache()]), &format!("`paged_kv_cache` is a list, {expected}"));
    check(Value::tuple(vec![half_cache()]), &format!("`paged_kv_cache` is a tuple of 1 items, {expected}"));
    check(
        Value::tuple(vec![half_cache(), Value::Tensor(half(&[5, 3, 2, 8]))]),
        "`paged_kv_cache` has shape [5, 3, 2, 8], expected tokens and heads as the keys, [5, 4, 2, 8]",
    );
}

#[test]
fn prefill_runs_that_do_not_fit_their_plan() {
    let mut object = planned(RAGGED, ragged_plan());
    let kv = |tokens| half(&[tokens, 2, 8]);
    check(
        object.run(arguments().with(half(&[4, 4, 8])).with(kv(5)).with(kv(5))),
        "`q` has shape [4, 4, 8], expected 3 rows, the last of `qo_indptr`",
    );
    check(
        object.run(arguments().with(half(&[3, 4, 8])).with(kv(4)).with(kv(4))),
        "`kv_indptr` is [.., 5]: `k` has only 4",
    );
    check(
        object.run(arguments().with(half(&[3, 4, 8])).with(kv(5)).with(half(&[5, 2, 4]))),
        "`v` has shape [5, 2, 4], expected 2 heads of 8 elements, as planned",
    );
    check(object.run(ragged_run().named("lse_base", "10")), "`lse_base` is 10: expected log2 or ln");
    check(object.run(ragged_run().named("lse_layout", "N")), "`lse_layout` is N: expected NH or HN");
}

#[test]
fn tensors_expanded_to_petabytes_cost_no_memory() {
    let huge = 1 << 50;
    let kv = || half(&[5, 2, 8]);
    check(single("single_prefill_with_kv_cache", expanded(&[huge, 4, 8]), kv(), kv()).run(), "`q`");
    check(
        single(
            "single_prefill_with_kv_cache",
            half(&[3, 4, 8]),
            expanded(&[huge, 2, 8]),
            expanded(&[huge, 2, 8]),
        )
        .run(),
        "`k`",
    );
    // Without keys the values have no elements, whatever their length; the result would have.
    check(
        single("single_prefill_with_kv_cache", half(&[3, 4, 8]), half(&[0, 2, 8]), expanded(&[0, 2, huge]))
            .run(),
        "the result would have 3 x 4 x 1125899906842624 elements",
    );
    check(
        planned(DECODE, decode_plan()).run(decode_run(&[2, 4, 8], expanded(&[huge, 2, 4, 2, 8]))),
        "`paged_kv_cache`",
    );
}

#[test]
fn sizes_beyond_memory_in_masks_are_told_from_those_given() {
    let i32_max = i32::MAX;
    let plan = ragged_plan_of(&[0, i32_max, i32_max], &[0, i32_max, i32_max]);
    check(
        Object::new(RAGGED, "NHD").plan(plan.named("custom_mask", trial::byte_tensor(&[1], &[1]))),
        "`custom_mask` has shape [1], expected 4611686014132420609 elements",
    );
}

#[test]
fn empty_batches_run() {
    let mut object = planned(DECODE, decode_plan_of(&[0], &[], &[], [4, 2, 8, 4]));
    let (out, lse) = object.pair(decode_run(&[0, 4, 8], cache()));
    assert_eq!((out.shape(), lse.shape()), (&[0, 4, 8][..], &[0, 4][..]));
    let error = object.run(decode_run(&[1, 4, 8], cache()));
    check(error, "`q` has shape [1, 4, 8]");
}
