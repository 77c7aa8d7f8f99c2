//! `attention.cu` against the five attention functions of the reference.

mod case;
mod kernel;
mod reference;

use callbox_core::DType;

use self::case::{Case, Encoding, Function, MaskKind};
use crate::trial::check_close;

fn check(case: &Case) {
    let [expected, expected_lse] = reference::run(case);
    let [out, lse] = kernel::run(case);
    let what = format!("{case:?}");
    check_close(&out, &expected, 2e-5, &what);
    check_close(&lse, &expected_lse, 1e-5, &format!("log-sum-exp of {what}"));
}

fn check_random(function: Function, count: u64) {
    for seed in 0..count {
        check(&Case::random(function, seed));
    }
}

#[test]
fn single_decode_agrees_with_the_reference() {
    check_random(Function::SingleDecode, 40);
}

#[test]
fn single_prefill_agrees_with_the_reference() {
    check_random(Function::SinglePrefill, 60);
}

#[test]
fn batch_decode_agrees_with_the_reference() {
    check_random(Function::BatchDecode, 60);
}

#[test]
fn batch_prefill_agrees_with_the_reference() {
    check_random(Function::BatchPrefill, 80);
}

#[test]
fn ragged_prefill_agrees_with_the_reference() {
    check_random(Function::RaggedPrefill, 40);
}

/// Two kv heads with two query heads each, three sequences of which one is empty, pages that are not full.
const PLAIN: Case = Case {
    function: Function::BatchDecode,
    seed: 1,
    kv_heads: 2,
    group: 2,
    width: 16,
    width_vo: 16,
    q_len: [1, 1, 1, 1],
    kv_len: [13, 0, 1, 40],
    batch: 3,
    dtype: DType::Float16,
    kv_dtype: DType::Float16,
    layout: "NHD",
    page_size: 4,
    mask: MaskKind::None,
    window_left: -1,
    soft_cap: 0.0,
    sm_scale: None,
    encoding: Encoding::None,
    sinks: false,
    scales: None,
    head_scales: false,
    poisoned: false,
    tile: [16, 8],
};

#[test]
fn each_query_head_reads_its_own_kv_head() {
    check(&PLAIN);
}

#[test]
fn pages_are_found_by_their_indices() {
    check(&Case { kv_len: [13, 16, 1, 40], batch: 4, ..PLAIN });
}

#[test]
fn every_dtype_of_queries_and_of_the_cache_is_read() {
    let dtypes = [DType::Float16, DType::BFloat16, DType::Float32, DType::Float8E4M3Fn, DType::Float8E5M2];
    for dtype in dtypes {
        for kv_dtype in dtypes {
            check(&Case { dtype, kv_dtype, batch: 4, ..PLAIN });
            check(&Case { function: Function::RaggedPrefill, dtype, kv_dtype, q_len: [3, 1, 0, 9], ..PLAIN });
        }
    }
}

#[test]
fn heads_of_real_lengths_are_read() {
    for width in [64, 128, 192] {
        check(&Case {
            width,
            width_vo: 128,
            function: Function::SinglePrefill,
            q_len: [5, 0, 0, 0],
            kv_len: [70, 0, 0, 0],
            batch: 1,
            ..PLAIN
        });
    }
}

#[test]
fn a_key_that_a_row_does_not_see_never_reaches_it() {
    for mask in [MaskKind::Causal, MaskKind::Custom, MaskKind::Packed] {
        for window_left in [-1, 0, 1] {
            let function = Function::RaggedPrefill;
            check(&Case {
                function,
                mask,
                window_left,
                q_len: [9, 2, 1, 12],
                batch: 4,
                poisoned: true,
                ..PLAIN
            });
        }
    }
}
