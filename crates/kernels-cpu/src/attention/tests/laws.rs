//! Every function against the formula, over random sizes, dtypes, layouts and options.

use callbox_core::Value;
use proptest::prelude::*;

use super::case::{Case, MaskKind, case};
use super::object::{Object, arguments, pair};
use crate::trial;

fn causal(case: &Case) -> Option<i64> {
    (case.mask == MaskKind::Causal).then_some(0)
}

fn check_single_decode(case: &Case) {
    let q = case.q();
    let shape = [case.qo_heads(), case.width];
    let q = trial::tensor(case.dtype, &shape, &q.to_f32().unwrap());
    let call = trial::call("single_decode_with_kv_cache")
        .with(q)
        .with(case.placed(&case.k()))
        .with(case.placed(&case.v()))
        .with(case.layout)
        .named("return_lse", true);
    let call = case.with_scales(case.with_options(call), &["q_scale", "k_scale", "v_scale"]);
    let case = Case { mask: MaskKind::None, ..case.clone() };
    case.check(pair(call.run().unwrap()), None, None, case.scales.unwrap_or([1.0; 3]));
}

fn check_single_prefill(case: &Case) {
    let call = trial::call("single_prefill_with_kv_cache")
        .with(case.q())
        .with(case.placed(&case.k()))
        .with(case.placed(&case.v()))
        .named("kv_layout", case.layout)
        .named("return_lse", true);
    let call = case.with_masks(case.with_options(call));
    let call = case.with_scales(call, &["k_scale", "v_scale"]);
    let [_, k_scale, v_scale] = case.scales.unwrap_or([1.0; 3]);
    case.check(pair(call.run().unwrap()), causal(case), None, [1.0, k_scale, v_scale]);
}

fn check_ragged_prefill(case: &Case) {
    let mut object = Object::new("BatchPrefillWithRaggedKVCacheWrapper", case.layout);
    let plan = arguments()
        .with(case.qo_indptr())
        .with(case.kv_indptr())
        .with(case.qo_heads() as i64)
        .with(case.kv_heads as i64)
        .with(case.width as i64)
        .with(case.width_vo as i64)
        .named("q_data_type", case.dtype)
        .named("kv_data_type", case.kv_dtype);
    object.plan(case.with_masks(case.with_options(plan))).unwrap();
    let run = arguments().with(case.q()).with(case.placed(&case.k())).with(case.placed(&case.v()));
    let run = case.with_scales(run, &["q_scale", "k_scale", "v_scale"]);
    let scales = match case.scales {
        Some([_, k_scale, v_scale]) if case.kv_dtype.item_size() == 1 => [1.0, k_scale, v_scale],
        _ => [1.0; 3],
    };
    case.check(object.pair(run), causal(case), None, scales);
}

fn check_paged_prefill(case: &Case) {
    let pages = case.pages();
    let mut object = Object::new("BatchPrefillWithPagedKVCacheWrapper", case.layout);
    let plan = arguments()
        .with(case.qo_indptr())
        .with(pages.indptr)
        .with(pages.indices)
        .with(pages.last_page_len)
        .with(case.qo_heads() as i64)
        .with(case.kv_heads as i64)
        .with(case.width as i64)
        .with(case.page_size as i64)
        .with(case.width_vo as i64)
        .named("q_data_type", case.dtype)
        .named("kv_data_type", case.kv_dtype);
    object.plan(case.with_masks(case.with_options(plan))).unwrap();
    let sinks = case.sinks.then(|| case.sinks());
    let run = arguments()
        .with(case.q())
        .with(pages.cache)
        .named("sinks", sinks.clone().map_or(Value::None, Value::Tensor));
    let run = case.with_scales(run, &["q_scale", "k_scale", "v_scale"]);
    let scales = case.scales.unwrap_or([1.0; 3]);
    case.check(object.pair(run), causal(case), sinks, scales);
}

fn check_batch_decode(case: &Case) {
    let pages = case.pages();
    let mut object = Object::new("BatchDecodeWithPagedKVCacheWrapper", case.layout);
    let plan = arguments()
        .with(pages.indptr)
        .with(pages.indices)
        .with(pages.last_page_len)
        .with(case.qo_heads() as i64)
        .with(case.kv_heads as i64)
        .with(case.width as i64)
        .with(case.page_size as i64)
        .named("q_data_type", case.dtype)
        .named("kv_data_type", case.kv_dtype);
    object.plan(case.with_options(plan)).unwrap();
    let sinks = case.sinks.then(|| case.sinks());
    let run = arguments()
        .with(case.q())
        .with(pages.cache)
        .named("window_left", case.window_left)
        .named("sinks", sinks.clone().map_or(Value::None, Value::Tensor));
    let run = case.with_scales(run, &["q_scale", "k_scale", "v_scale"]);
    let case = Case { mask: MaskKind::Causal, ..case.clone() };
    case.check(object.pair(run), Some(0), sinks, case.scales.unwrap_or([1.0; 3]));
}

proptest! {
    #[test]
    fn single_decode_is_the_formula(case in case(1, 0)) {
        let keys = case.sequences[0].1;
        check_single_decode(&Case { sequences: vec![(1, keys)], ..case });
    }

    #[test]
    fn single_prefill_is_the_formula(case in case(1, 9)) {
        check_single_prefill(&case);
    }

    #[test]
    fn ragged_prefill_is_the_formula(case in case(4, 6)) {
        check_ragged_prefill(&case);
    }

    #[test]
    fn paged_prefill_is_the_formula(case in case(4, 6)) {
        check_paged_prefill(&case);
    }

    #[test]
    fn batch_decode_is_the_formula(case in case(4, 0), q_len in 1usize..4) {
        let sequences = case.sequences.iter().map(|&(_, keys)| (q_len, keys)).collect();
        check_batch_decode(&Case { sequences, ..case });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    // Longer than a block of keys and a tile of rows.
    #[test]
    fn long_sequences_are_the_formula(case in case(1, 0), queries in 60usize..200, keys in 400usize..1200, wide in 0i64..700) {
        let window_left = if case.window_left < 0 { -1 } else { wide };
        check_paged_prefill(&Case {
            sequences: vec![(queries, keys), (2, 600)],
            window_left,
            page_size: 16,
            ..case
        });
    }
}
