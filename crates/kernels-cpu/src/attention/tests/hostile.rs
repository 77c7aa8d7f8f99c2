//! Arguments of any kind: an answer or an error, never a panic.

use callbox_core::{Arguments, DType, Executor, FunctionName, TensorBuf};
use proptest::prelude::*;

use super::object::{arguments, with_sizes};
use crate::CpuExecutor;
use crate::hostile::{Malice, malice};
use crate::trial::{self, Trial, byte_tensor, ints, vector};

fn half(shape: &[usize]) -> TensorBuf {
    trial::random(DType::Float16, shape, 1)
}

fn sinks() -> TensorBuf {
    vector(DType::Float32, &[0.5; 4])
}

/// The arguments of a constructor, a plan and a run that succeed.
fn objects() -> [(&'static str, [Trial; 3]); 3] {
    let workspace = || arguments().with(byte_tensor(&[8], &[0; 8])).with("NHD");
    let pages = |given: Trial| given.with(ints(&[0, 2, 3])).with(ints(&[4, 0, 2])).with(ints(&[3, 1]));
    let mask = || byte_tensor(&[15], &[1; 15]);
    let lse = || trial::random(DType::Float32, &[3, 4], 2);
    let decode = with_sizes(pages(arguments()), [4, 2, 8, 4]).with("ROPE_LLAMA").with(5i64).with(30.0);
    let decode = decode.with(DType::Float16);
    let decode_run = arguments()
        .with(half(&[2, 4, 8]))
        .with(half(&[5, 2, 4, 2, 8]))
        .named("sinks", sinks())
        .named("out", half(&[2, 4, 8]));
    let paged = pages(arguments().with(ints(&[0, 2, 3])));
    let paged = with_sizes(paged, [4, 2, 8, 4, 8]).with(mask()).with(byte_tensor(&[3], &[255; 3]));
    let paged_run = arguments()
        .with(half(&[3, 4, 8]))
        .with(half(&[5, 2, 4, 2, 8]))
        .named("return_lse", true)
        .named("k_scale", trial::scalar(2.0))
        .named("lse_layout", "NH")
        .named("lse", lse());
    let ragged = arguments().with(ints(&[0, 2, 3])).with(ints(&[0, 5, 10]));
    let ragged = with_sizes(ragged, [4, 2, 8, 8]).with(mask());
    let ragged_run = arguments()
        .with(half(&[3, 4, 8]))
        .with(half(&[10, 2, 8]))
        .with(half(&[10, 2, 8]))
        .named("return_lse", true)
        .named("lse", lse());
    [
        ("BatchDecodeWithPagedKVCacheWrapper", [workspace(), decode, decode_run]),
        ("BatchPrefillWithPagedKVCacheWrapper", [workspace(), paged, paged_run]),
        ("BatchPrefillWithRaggedKVCacheWrapper", [workspace(), ragged, ragged_run]),
    ]
}

fn singles() -> [Trial; 2] {
    let single = |name, q| trial::call(name).with(q).with(half(&[5, 2, 8])).with(half(&[5, 2, 8]));
    [
        single("single_decode_with_kv_cache", half(&[4, 8])).with("NHD").with("ALIBI"),
        single("single_prefill_with_kv_cache", half(&[3, 4, 8]))
            .with(sinks())
            .with(vector(DType::Float32, &[0.5; 2]))
            .with(2.0)
            .with(DType::Float32)
            .with(byte_tensor(&[3, 5], &[1; 15])),
    ]
}

/// Does something to an argument, one by name where `place` is beyond those by position.
fn spoil(given: &mut Arguments, malice: &Malice, place: usize) {
    match place.checked_sub(given.positional.len()).and_then(|place| given.keyword.get_mut(place)) {
        Some((_, value)) => {
            let mut alone = Arguments { positional: vec![value.clone()], keyword: Vec::new() };
            malice.apply(&mut alone, 0);
            alone.positional.into_iter().for_each(|spoiled| *value = spoiled);
        }
        None => malice.apply(given, place),
    }
}

/// Builds, plans and runs; a step that fails ends it.
fn try_object(class: &str, steps: [Arguments; 3]) -> Result<(), callbox_core::ExecError> {
    let [mut build, mut plan, mut run] = steps;
    let name = FunctionName::new("flashinfer", format!("{class}.__init__"));
    let mut object = CpuExecutor.construct(&name, &mut build)?;
    object.call("plan", &mut plan)?;
    object.call("run", &mut run)?;
    Ok(())
}

#[test]
fn unspoiled_calls_succeed() {
    for (class, steps) in objects() {
        try_object(class, steps.map(Trial::into_arguments)).unwrap();
    }
    for trial in singles() {
        trial.run().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_that_is_handed_over_makes_attention_panic(
        malices in prop::collection::vec((malice(), 0usize..3, 0usize..12), 1..3),
    ) {
        for (class, steps) in objects() {
            let mut steps = steps.map(Trial::into_arguments);
            for (malice, step, place) in &malices {
                spoil(&mut steps[*step], malice, *place);
            }
            // An answer either way.
            drop(try_object(class, steps));
        }
        for trial in singles() {
            let name = trial.function().clone();
            let mut given = trial.into_arguments();
            for (malice, _, place) in &malices {
                spoil(&mut given, malice, *place);
            }
            drop(CpuExecutor.call(&name, &mut given));
        }
    }
}
