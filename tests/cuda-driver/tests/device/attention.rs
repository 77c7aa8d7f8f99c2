//! Attention: functions and objects, whose answers are the CPU's.

use callbox::core::Executor;
use callbox::{DType, OwnedValue, TensorBuf, Value};
use callbox_kernels_cpu::CpuExecutor;
use callbox_kernels_cuda::{CudaDevice, CudaKernels};

use crate::call::{Call, check_close, elsewhere, ints, name, random};
use crate::on_device;

/// Builds an object, plans and runs it.
fn answer(executor: &mut dyn Executor, class: &str, [plan, run]: [&Call; 2]) -> OwnedValue {
    let workspace = TensorBuf::from_elements(DType::UInt8, &[1], vec![0]).unwrap();
    let mut arguments = Call::default().with(&workspace).with("NHD").arguments();
    let mut object = executor.construct(&name(&format!("{class}.__init__")), &mut arguments).unwrap();
    object.call("plan", &mut plan.arguments()).unwrap();
    object.call("run", &mut run.arguments()).unwrap()
}

fn check(device: &CudaDevice, class: &str, plan: &Call, run: &Call) {
    let run = run.clone().named("return_lse", true);
    let expected = answer(&mut CpuExecutor, class, [plan, &run]);
    let mut cuda = CudaKernels::new(device.clone()).into_executor();
    let actual = answer(&mut cuda, class, [plan, &run]);
    check_close(&actual, &expected, &format!("{class} {plan:?} {run:?}"));
}

const DTYPES: [(DType, DType); 4] = [
    (DType::Float16, DType::Float16),
    (DType::BFloat16, DType::Float8E4M3Fn),
    (DType::Float32, DType::Float8E5M2),
    (DType::Float32, DType::Float32),
];

/// Two kv heads with two query heads each; the third sequence is empty, the last pages are not full.
#[test]
fn decodes_of_a_batch_are_the_cpu_s() {
    on_device("attention::decodes_of_a_batch_are_the_cpu_s", |_, device| {
        for (dtype, kv_dtype) in DTYPES {
            let cache = random(kv_dtype, &[9, 2, 4, 2, 16], 1);
            let queries = random(dtype, &[4, 4, 16], 2);
            let plan = |options: fn(Call) -> Call| {
                let pages =
                    Call::default().with(&ints(&[0, 4, 5, 5, 8])).with(&ints(&[5, 1, 7, 0, 8, 3, 2, 6]));
                options(pages.with(&ints(&[1, 4, 0, 3])).with(4usize).with(2usize).with(16usize).with(4usize))
            };
            for options in [
                (|call| call) as fn(Call) -> Call,
                |call| call.named("window_left", 3i64).named("logits_soft_cap", 5.0f32),
                |call| call.named("pos_encoding_mode", "ALIBI"),
                |call| call.named("pos_encoding_mode", "ROPE_LLAMA").named("rope_theta", 1e4f32),
            ] {
                let run = Call::default().with(&queries).with(&cache);
                check(device, "BatchDecodeWithPagedKVCacheWrapper", &plan(options), &run);
            }
            for cache in elsewhere(&cache) {
                let sinks = random(DType::Float32, &[4], 3);
                let run = Call::default().with(&elsewhere(&queries)[0]).with(&cache).named("sinks", &sinks);
                check(device, "BatchDecodeWithPagedKVCacheWrapper", &plan(|call| call), &run);
            }
        }
    });
}

#[test]
fn prefills_of_a_batch_are_the_cpu_s() {
    on_device("attention::prefills_of_a_batch_are_the_cpu_s", |_, device| {
        for (dtype, kv_dtype) in DTYPES {
            let halves = [1, 2].map(|seed| Value::Tensor(random(kv_dtype, &[9, 4, 2, 16], seed)));
            let cache = Value::tuple(halves.to_vec());
            let queries = random(dtype, &[9, 4, 16], 3);
            let plan = |qo_indptr: &[i32]| {
                let pages = Call::default().with(&ints(qo_indptr)).with(&ints(&[0, 4, 5, 5]));
                let pages = pages.with(&ints(&[5, 1, 7, 0, 8])).with(&ints(&[1, 4, 0]));
                pages.with(4usize).with(2usize).with(16usize).with(4usize)
            };
            let run = Call::default().with(&queries).with(cache.clone());
            let class = "BatchPrefillWithPagedKVCacheWrapper";
            check(device, class, &plan(&[0, 3, 7, 9]).named("causal", true), &run);
            // Rows before the first sequence belong to none.
            check(device, class, &plan(&[2, 3, 7, 9]), &run);
            // Queries 3, 4 and 2; keys 13, 4 and 0.
            let bits = random(DType::Float32, &[3 * 13 + 4 * 4], 4).to_f32().unwrap();
            let bits = bits.iter().map(|bit| u8::from(*bit > 0.0)).collect();
            let mask = TensorBuf::from_elements(DType::Bool, &[3 * 13 + 4 * 4], bits).unwrap();
            check(device, class, &plan(&[0, 3, 7, 9]).named("custom_mask", &mask), &run);
        }
    });
}

#[test]
fn ragged_prefills_are_the_cpu_s() {
    on_device("attention::ragged_prefills_are_the_cpu_s", |_, device| {
        for (dtype, kv_dtype) in DTYPES {
            let (keys, values) = (random(kv_dtype, &[20, 2, 16], 1), random(kv_dtype, &[20, 2, 8], 2));
            let queries = random(dtype, &[9, 4, 16], 3);
            let plan = Call::default().with(&ints(&[0, 3, 3, 9])).with(&ints(&[2, 13, 13, 20]));
            let plan = plan.with(4usize).with(2usize).with(16usize).named("head_dim_vo", 8usize);
            for values in elsewhere(&values).iter().chain([&values]) {
                let run = Call::default().with(&queries).with(&keys).with(values);
                check(device, "BatchPrefillWithRaggedKVCacheWrapper", &plan, &run);
            }
        }
    });
}

#[test]
fn single_sequences_are_the_cpu_s() {
    on_device("attention::single_sequences_are_the_cpu_s", |_, device| {
        for (dtype, kv_dtype) in DTYPES {
            for (layout, shape) in [("NHD", [70, 2, 64]), ("HND", [2, 70, 64])] {
                let (keys, values) = (random(kv_dtype, &shape, 1), random(kv_dtype, &shape, 2));
                let call = Call::default().with(&random(dtype, &[4, 64], 3)).with(&keys).with(&values);
                let call = call.named("kv_layout", layout).named("return_lse", true);
                call.clone().named("k_scale", 0.5f32).check(device, "single_decode_with_kv_cache");
                let call = Call::default().with(&random(dtype, &[5, 4, 64], 3)).with(&keys).with(&values);
                let call = call.named("kv_layout", layout).named("return_lse", true).named("causal", true);
                let factors = random(DType::Float32, &[2], 4);
                let call = call.named("scale_k", &factors).named("scale_v", 2.0f32);
                call.check(device, "single_prefill_with_kv_cache");
            }
        }
    });
}

#[test]
fn heads_that_are_long_are_worked_on_in_small_tiles() {
    on_device("attention::heads_that_are_long_are_worked_on_in_small_tiles", |_, device| {
        for (width, width_vo) in [(192, 128), (576, 512)] {
            let keys = random(DType::BFloat16, &[9, 1, width], 1);
            let values = random(DType::BFloat16, &[9, 1, width_vo], 2);
            let call = Call::default().with(&random(DType::BFloat16, &[3, 2, width], 3)).with(&keys);
            call.with(&values).check(device, "single_prefill_with_kv_cache");
        }
    });
}
