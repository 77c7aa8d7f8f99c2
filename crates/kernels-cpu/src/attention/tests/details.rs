//! What no recorded call tells apart, one promise a test, on attentions small enough to work out by hand.

use std::f32::consts::{LN_2, LOG2_E};

use callbox_core::{DType, TensorBuf, Value};

use super::object::{Object, arguments, pair, with_sizes};
use crate::trial::{self, Trial, ints, scalar, tensor, vector};

const DECODE: &str = "BatchDecodeWithPagedKVCacheWrapper";
const PAGED: &str = "BatchPrefillWithPagedKVCacheWrapper";
const RAGGED: &str = "BatchPrefillWithRaggedKVCacheWrapper";

/// Tokens of one head of one element.
fn column(dtype: DType, values: &[f32]) -> TensorBuf {
    tensor(dtype, &[values.len(), 1, 1], values)
}

fn f32s(tensor: &TensorBuf) -> Vec<f32> {
    tensor.to_f32().unwrap()
}

/// A prefill of tokens of one head of one element.
fn prefill(q: &[f32], k: &[f32], v: &[f32]) -> Trial {
    trial::call("single_prefill_with_kv_cache")
        .with(column(DType::Float32, q))
        .with(column(DType::Float32, k))
        .with(column(DType::Float32, v))
}

/// A cache of one sequence: keys and values of one head of one element, in pages of one token that come
/// without their dimension.
fn paged(dtype: DType, k: &[f32], v: &[f32]) -> TensorBuf {
    let pairs: Vec<f32> = k.iter().zip(v).flat_map(|(&k, &v)| [k, v]).collect();
    tensor(dtype, &[k.len(), 2, 1, 1], &pairs)
}

/// The plan of a decode of one sequence in such a cache.
fn decode_plan(keys: i32) -> Trial {
    let pages: Vec<i32> = (0..keys).collect();
    let trial = arguments().with(ints(&[0, keys])).with(ints(&pages)).with(ints(&[1]));
    with_sizes(trial, [1, 1, 1, 1])
}

/// The plan of a prefill of one sequence in such a cache.
fn paged_plan(rows: i32, keys: i32) -> Trial {
    let pages: Vec<i32> = (0..keys).collect();
    let trial = arguments().with(ints(&[0, rows])).with(ints(&[0, keys])).with(ints(&pages)).with(ints(&[1]));
    with_sizes(trial, [1, 1, 1, 1])
}

/// The plan of a ragged prefill of one sequence of heads of one element.
fn ragged_plan(rows: i32, keys: i32) -> Trial {
    let trial = arguments().with(ints(&[0, rows])).with(ints(&[0, keys]));
    with_sizes(trial, [1, 1, 1])
}

#[test]
fn an_output_is_rounded_once_behind_v_scale() {
    // The mean of the values, 1 + 2^-11, lies half way between 1 and the next f16; three times the exact mean
    // rounds up, three times the rounded one is 3.
    let next = 1.0 + 2f32.powi(-10);
    let half = |values: &[f32]| column(DType::Float16, values);
    let out = trial::call("single_prefill_with_kv_cache")
        .with(half(&[0.0]))
        .with(half(&[0.0, 0.0]))
        .with(half(&[1.0, next]))
        .named("v_scale", 3.0)
        .tensor();
    assert_eq!(f32s(&out), [3.0 + 2f32.powi(-9)]);
}

#[test]
fn the_log_sum_exp_knows_nothing_of_v_scale() {
    let (_, lse) =
        prefill(&[0.0], &[0.0, 0.0], &[1.0, 2.0]).named("v_scale", 3.0).named("return_lse", true).pair();
    assert_eq!((lse.dtype(), f32s(&lse)), (DType::Float32, vec![1.0]));
}

#[test]
fn a_row_that_sees_nothing_gives_zero_and_minus_infinity() {
    let (out, lse) =
        prefill(&[1.0, 1.0, 1.0], &[2.0], &[5.0]).named("causal", true).named("return_lse", true).pair();
    assert_eq!(f32s(&out), [0.0, 0.0, 5.0]);
    assert_eq!(f32s(&lse), [f32::NEG_INFINITY, f32::NEG_INFINITY, 2.0 * LOG2_E]);
}

#[test]
fn a_row_that_sees_nothing_but_a_sink_has_the_sink_as_log_sum_exp() {
    let mut object = Object::new(PAGED, "NHD");
    object.plan(paged_plan(2, 1).named("causal", true).named("q_data_type", DType::Float32)).unwrap();
    let (out, lse) = object.pair(
        arguments()
            .with(column(DType::Float32, &[0.0, 0.0]))
            .with(paged(DType::Float32, &[0.0], &[8.0]))
            .named("sinks", vector(DType::Float32, &[3f32.ln()])),
    );
    let (out, lse) = (f32s(&out), f32s(&lse));
    assert_eq!(out[0], 0.0);
    assert!((out[1] - 2.0).abs() < 1e-6, "a quarter of the value: {}", out[1]);
    assert!((lse[0] - 3f32.log2()).abs() < 1e-6 && (lse[1] - 2.0).abs() < 1e-6, "{lse:?}");
}

#[test]
fn hidden_values_never_reach_a_result() {
    for hidden in [f32::NAN, f32::INFINITY] {
        let out = prefill(&[1.0, 1.0], &[1.0, hidden], &[5.0, hidden]).named("causal", true).tensor();
        let out = f32s(&out);
        assert_eq!(out[0], 5.0, "{hidden}");
        assert!(out[1].is_nan(), "{hidden} is visible to the last query");
    }
}

#[test]
fn a_visible_nan_is_not_lost() {
    let (out, lse) = prefill(&[f32::NAN], &[1.0, 2.0], &[1.0, 1.0]).named("return_lse", true).pair();
    assert!(f32s(&out)[0].is_nan() && f32s(&lse)[0].is_nan());
}

#[test]
fn great_logits_do_not_overflow() {
    let (out, lse) = prefill(&[1000.0], &[1.0, 0.5], &[7.0, 1.0]).named("return_lse", true).pair();
    assert_eq!((f32s(&out), f32s(&lse)), (vec![7.0], vec![1000.0 * LOG2_E]));
}

#[test]
fn packed_masks_start_at_a_fresh_byte_for_each_sequence() {
    // Two sequences of three keys: the first query sees keys 0 and 2, the second key 1.
    let mut object = Object::new(RAGGED, "NHD");
    let plan = arguments().with(ints(&[0, 1, 2])).with(ints(&[0, 3, 6]));
    let plan = with_sizes(plan, [1, 1, 1]);
    object
        .plan(
            plan.named("q_data_type", DType::Float32)
                .named("packed_custom_mask", trial::byte_tensor(&[2], &[0b101, 0b010])),
        )
        .unwrap();
    let out = object.run(
        arguments()
            .with(column(DType::Float32, &[0.0; 2]))
            .with(column(DType::Float32, &[0.0; 6]))
            .with(column(DType::Float32, &[1.0, 2.0, 5.0, 10.0, 20.0, 30.0])),
    );
    let Value::Tensor(out) = out.unwrap() else { panic!("one tensor") };
    assert_eq!(f32s(&out), [3.0, 20.0]);
}

#[test]
fn a_mask_of_any_dtype_and_shape_shows_what_is_not_zero() {
    for mask in [tensor(DType::Float32, &[1, 2], &[0.0, 0.5]), trial::byte_tensor(&[2], &[0, 2])] {
        let out = prefill(&[0.0], &[0.0, 0.0], &[1.0, 3.0]).named("custom_mask", mask).tensor();
        assert_eq!(f32s(&out), [3.0]);
    }
}

#[test]
fn alibi_counts_queries_from_the_start_of_the_call() {
    // One head has the slope 2^-8. The bias is the same for every key of a row but for the key's own place,
    // so only the log-sum-exp tells where queries are counted from.
    let (_, lse) = prefill(&[0.0, 0.0], &[0.0, 0.0, 0.0], &[0.0; 3])
        .named("pos_encoding_mode", "ALIBI")
        .named("causal", true)
        .named("return_lse", true)
        .pair();
    let slope = 2f64.powi(-8);
    let expected = |query: f64, keys: &[f64]| {
        let sum: f64 = keys.iter().map(|key| (slope * (key - query)).exp()).sum();
        sum.log2()
    };
    for (lse, expected) in
        f32s(&lse).iter().zip([expected(0.0, &[0.0, 1.0]), expected(1.0, &[0.0, 1.0, 2.0])])
    {
        assert!((f64::from(*lse) - expected).abs() < 1e-6, "{lse} {expected}");
    }
}

#[test]
fn a_soft_cap_bends_logits_with_their_biases() {
    let (_, lse) = prefill(&[3.0], &[2.0], &[0.0])
        .named("pos_encoding_mode", "ALIBI")
        .named("logits_soft_cap", 4.0)
        .named("return_lse", true)
        .pair();
    assert!((f32s(&lse)[0] - 4.0 * 1.5f32.tanh() * LOG2_E).abs() < 1e-5);
    let (_, lse) = prefill(&[1.0, 0.0], &[0.0], &[0.0])
        .named("pos_encoding_mode", "ALIBI")
        .named("logits_soft_cap", 1e-3)
        .named("return_lse", true)
        .pair();
    // The second query is one token behind the key: a bias of -2^-8, far beyond the cap.
    assert!((f32s(&lse)[1] + 1e-3 * (2f32.powi(-8) / 1e-3).tanh() * LOG2_E).abs() < 1e-6);
}

#[test]
fn the_log_sum_exp_comes_in_base_and_layout_of_choice() {
    // Two rows of three heads over one kv head; the first row sees one key, the second two.
    let mut object = Object::new(RAGGED, "NHD");
    let plan = with_sizes(arguments().with(ints(&[0, 2])).with(ints(&[0, 2])), [3, 1, 1]);
    object.plan(plan.named("causal", true).named("q_data_type", DType::Float32)).unwrap();
    let mut lse = |base: &str, layout: &str| {
        let run = arguments()
            .with(tensor(DType::Float32, &[2, 3, 1], &[0.0; 6]))
            .with(column(DType::Float32, &[0.0; 2]))
            .with(column(DType::Float32, &[0.0; 2]));
        let (_, lse) = object.pair(run.named("lse_base", base).named("lse_layout", layout));
        (lse.shape().to_vec(), f32s(&lse))
    };
    let rows = |one: f32| (vec![2, 3], vec![0.0, 0.0, 0.0, one, one, one]);
    let heads = |one: f32| (vec![3, 2], vec![0.0, one, 0.0, one, 0.0, one]);
    assert_eq!(lse("log2", "NH"), rows(1.0));
    assert_eq!(lse("ln", "NH"), rows(LN_2));
    assert_eq!(lse("log2", "HN"), heads(1.0));
    assert_eq!(lse("ln", "HN"), heads(LN_2));
}

#[test]
fn out_and_lse_are_written_and_returned() {
    let mut object = Object::new(PAGED, "NHD");
    object.plan(paged_plan(1, 2).named("q_data_type", DType::Float32)).unwrap();
    let mut given = arguments()
        .with(column(DType::Float32, &[0.0]))
        .with(paged(DType::Float32, &[0.0, 0.0], &[1.0, 2.0]))
        .named("out", tensor(DType::BFloat16, &[1, 1, 1], &[9.0]))
        .named("lse", tensor(DType::Float32, &[1, 1], &[9.0]))
        .named("return_lse", true)
        .into_arguments();
    let returned = object.run_with(&mut given).unwrap();
    let (out, lse) = pair(returned);
    assert_eq!((out.dtype(), f32s(&out)), (DType::BFloat16, vec![1.5]));
    assert_eq!(f32s(&lse), [1.0]);
    for (name, expected) in [("out", 1.5), ("lse", 1.0)] {
        let (_, value) = given.keyword.iter().find(|(given, _)| given == name).unwrap();
        let Value::Tensor(written) = value else { panic!("{name} is {value:?}") };
        assert_eq!(f32s(written), [expected], "{name}");
    }
}

#[test]
fn scales_of_single_prefill_belong_to_heads() {
    // Two query heads share the kv head.
    let out = trial::call("single_prefill_with_kv_cache")
        .with(tensor(DType::Float8E4M3Fn, &[1, 2, 1], &[1.0, 1.0]))
        .with(tensor(DType::Float8E4M3Fn, &[2, 1, 1], &[0.0, 1.0]))
        .with(tensor(DType::Float8E4M3Fn, &[2, 1, 1], &[0.0, 1.0]))
        .with(vector(DType::Float32, &[2.0, 4.0]))
        .with(vector(DType::Float32, &[0.5]))
        .with(vector(DType::Float32, &[3.0]))
        .with(DType::Float32)
        .tensor();
    let expected = [1f32, 2.0].map(|logit| 3.0 * logit.exp() / (1.0 + logit.exp()));
    for (out, expected) in f32s(&out).iter().zip(expected) {
        assert!((out - expected).abs() < 1e-6, "{out} {expected}");
    }
}

#[test]
fn scales_behind_the_arguments_of_run_count_for_fp8_queries_only() {
    let run = |dtype: DType| {
        let mut object = Object::new(PAGED, "NHD");
        object
            .plan(paged_plan(1, 2).named("q_data_type", dtype).named("o_data_type", DType::Float32))
            .unwrap();
        let run = arguments()
            .with(column(dtype, &[1.0]))
            .with(paged(dtype, &[0.0, 1.0], &[0.0, 1.0]))
            .with(vector(DType::Float32, &[2.0]))
            .with(4.0)
            .with(3.0);
        f32s(&object.pair(run).0)[0]
    };
    let expected = |logit: f32| logit.exp() / (1.0 + logit.exp());
    assert!((run(DType::Float8E4M3Fn) - 3.0 * expected(8.0)).abs() < 1e-6);
    assert!((run(DType::Float16) - expected(1.0)).abs() < 1e-6);
}

#[test]
fn ragged_scales_count_where_keys_alone_are_fp8() {
    let run = |q_dtype: DType, kv_dtype: DType| {
        let mut object = Object::new(RAGGED, "NHD");
        object
            .plan(
                ragged_plan(1, 2)
                    .named("q_data_type", q_dtype)
                    .named("kv_data_type", kv_dtype)
                    .named("o_data_type", DType::Float32),
            )
            .unwrap();
        let run = arguments()
            .with(column(q_dtype, &[1.0]))
            .with(column(kv_dtype, &[0.0, 1.0]))
            .with(column(kv_dtype, &[0.0, 1.0]))
            .named("q_scale", 16.0)
            .named("k_scale", 2.0)
            .named("v_scale", 3.0);
        f32s(&object.pair(run).0)[0]
    };
    let expected = |logit: f32| logit.exp() / (1.0 + logit.exp());
    let (fp8, half) = (DType::Float8E4M3Fn, DType::Float16);
    assert!((run(half, fp8) - 3.0 * expected(2.0)).abs() < 1e-6);
    assert!((run(half, half) - expected(1.0)).abs() < 1e-6);
    assert!((run(fp8, fp8) - expected(1.0)).abs() < 1e-6);
}

#[test]
fn scales_may_be_tensors_of_one_element() {
    let mut object = Object::new(DECODE, "NHD");
    object.plan(decode_plan(1).named("q_data_type", DType::Float32)).unwrap();
    let (out, lse) = object.pair(
        arguments()
            .with(column(DType::Float32, &[1.0]))
            .with(paged(DType::Float32, &[1.0], &[1.0]))
            .named("q_scale", scalar(2.0))
            .named("k_scale", vector(DType::Float32, &[3.0]))
            .named("v_scale", 5i64),
    );
    assert_eq!((f32s(&out), f32s(&lse)), (vec![5.0], vec![6.0 * LOG2_E]));
}

#[test]
fn the_output_has_the_planned_dtype_or_that_of_the_queries() {
    let dtype = |class: &str, q_dtype: DType, o_dtype: Option<DType>| {
        let mut object = Object::new(class, "NHD");
        let plan = match class {
            PAGED => paged_plan(1, 1),
            _ => ragged_plan(1, 1),
        };
        let plan = plan.named("q_data_type", q_dtype);
        object
            .plan(match o_dtype {
                Some(dtype) => plan.named("o_data_type", dtype.name()),
                None => plan,
            })
            .unwrap();
        let run = arguments().with(column(q_dtype, &[1.0]));
        let run = match class {
            PAGED => run.with(paged(q_dtype, &[1.0], &[1.0])),
            _ => run.with(column(q_dtype, &[1.0])).with(column(q_dtype, &[1.0])),
        };
        object.pair(run).0.dtype()
    };
    let (fp8, half) = (DType::Float8E4M3Fn, DType::Float16);
    assert_eq!(dtype(PAGED, half, None), half);
    assert_eq!(dtype(PAGED, fp8, Some(DType::BFloat16)), DType::BFloat16);
    assert_eq!(dtype(PAGED, fp8, None), fp8);
    assert_eq!(dtype(RAGGED, half, Some(DType::Float32)), DType::Float32);
    assert_eq!(dtype(RAGGED, fp8, None), DType::BFloat16, "an fp8 default is not meant");
}

#[test]
fn the_result_has_the_dtype_of_the_queries_whatever_was_planned() {
    for planned in [Value::None, Value::dtype(DType::Float32), Value::text("float16")] {
        let mut object = Object::new(DECODE, "NHD");
        let plan = decode_plan(1).named("q_data_type", planned).named("data_type", "float16");
        object.plan(plan).unwrap();
        let run = arguments().with(column(DType::BFloat16, &[1.0]));
        let out = object.pair(run.with(paged(DType::Float16, &[1.0], &[1.0])));
        assert_eq!(out.0.dtype(), DType::BFloat16);
    }
}

#[test]
fn a_decode_plan_takes_its_options_by_position() {
    // pos_encoding_mode, window_left, logits_soft_cap, q_data_type, kv_data_type, o_data_type, data_type,
    // sm_scale
    let plan = decode_plan(3)
        .with("NONE")
        .with(0i64)
        .with(2.0)
        .with(DType::Float32)
        .with(DType::Float32)
        .with(DType::BFloat16)
        .with(Value::None)
        .with(0.5);
    let mut object = Object::new(DECODE, "NHD");
    object.plan(plan).unwrap();
    let (out, lse) = object.pair(arguments().with(column(DType::Float32, &[2.0])).with(paged(
        DType::Float32,
        &[0.0, 0.0, 3.0],
        &[1.0, 2.0, 4.0],
    )));
    assert_eq!((out.dtype(), f32s(&out)), (DType::BFloat16, vec![4.0]));
    assert!((f32s(&lse)[0] - 2.0 * 1.5f32.tanh() * LOG2_E).abs() < 1e-6);
}

#[test]
fn several_queries_of_a_decode_see_no_later_key_unless_the_plan_lets_them() {
    let outputs = |plan: Trial| {
        let mut object = Object::new(DECODE, "NHD");
        object.plan(plan.named("q_data_type", DType::Float32)).unwrap();
        let run = arguments().with(column(DType::Float32, &[0.0, 0.0])).with(paged(
            DType::Float32,
            &[0.0; 4],
            &[0.0, 0.0, 6.0, 12.0],
        ));
        f32s(&object.pair(run).0)
    };
    let plan = || decode_plan(4).named("q_len_per_req", 2i64);
    assert_eq!(outputs(plan()), [2.0, 4.5]);
    assert_eq!(outputs(plan().named("is_causal", true)), [2.0, 4.5]);
    assert_eq!(outputs(plan().named("is_causal", false)), [4.5, 4.5]);
    assert_eq!(outputs(plan().named("window_right", 1i64)), [4.5, 4.5]);
    assert_eq!(outputs(plan().named("window_right", -1i64)), [4.5, 4.5]);
}

#[test]
fn pages_of_one_token_may_come_without_their_dimension() {
    let keys = tensor(DType::Float32, &[2, 1, 1], &[0.0, 0.0]);
    let values = tensor(DType::Float32, &[2, 1, 1], &[1.0, 2.0]);
    let cache = Value::tuple(vec![Value::Tensor(keys), Value::Tensor(values)]);
    for layout in ["NHD", "HND"] {
        let mut object = Object::new(DECODE, layout);
        object.plan(decode_plan(2).named("q_data_type", DType::Float32)).unwrap();
        for cache in [cache.clone(), Value::Tensor(paged(DType::Float32, &[0.0; 2], &[1.0, 2.0]))] {
            let run = arguments().with(column(DType::Float32, &[0.0])).with(cache);
            assert_eq!(f32s(&object.pair(run).0), [1.5], "{layout}");
        }
    }
}

#[test]
fn a_plan_replaces_the_one_before_even_where_it_fails() {
    let mut object = Object::new(DECODE, "NHD");
    let run = |object: &mut Object| {
        object.run(arguments().with(column(DType::Float32, &[0.0])).with(paged(
            DType::Float32,
            &[0.0],
            &[1.0],
        )))
    };
    let plan = || decode_plan(1).named("q_data_type", DType::Float32);
    assert_eq!(run(&mut object).unwrap_err().to_string(), "plan was never called on this object");
    object.plan(plan()).unwrap();
    run(&mut object).unwrap();
    object.plan(plan().named("pos_encoding_mode", "SINE")).unwrap_err();
    assert_eq!(run(&mut object).unwrap_err().to_string(), "plan was never called on this object");
}
