//! The executor: what every executor must do, and that its answers are the CPU's.

use callbox::core::{Arguments, ExecError, Executor, Group};
use callbox::replay::{Objects, ReplayOptions, Verdict, replay_from_dump};
use callbox::{DType, TensorBuf, Value};
use callbox_kernels_cpu::CpuExecutor;
use callbox_kernels_cuda::{CudaDevice, CudaKernels};
use callbox_testkit::conformance::{self, ExecutorCase};
use callbox_testkit::{MemorySource, sample};

use crate::call::{Call, elsewhere, ints, name, random};
use crate::on_device;

const FLOATS: [DType; 3] = [DType::Float16, DType::BFloat16, DType::Float32];

#[test]
fn it_does_what_every_executor_must() {
    on_device("executor::it_does_what_every_executor_must", |_, device| {
        let workspace = TensorBuf::from_elements(DType::UInt8, &[1], vec![0]).unwrap();
        let case = ExecutorCase {
            function: name("rmsnorm"),
            constructor: name("BatchDecodeWithPagedKVCacheWrapper.__init__"),
            arguments: Arguments { positional: vec![Value::Tensor(workspace)], ..Arguments::default() },
            method: name("BatchDecodeWithPagedKVCacheWrapper.run"),
        };
        conformance::executor(&mut CudaKernels::new(device.clone()).into_executor(), case);
    });
}

#[test]
fn functions_without_a_kernel_are_not_there() {
    on_device("executor::functions_without_a_kernel_are_not_there", |_, device| {
        let executor = CudaKernels::new(device.clone()).into_executor();
        for absent in ["merge_state", "append_paged_kv_cache", "softmax", "top_k_renorm_probs"] {
            assert!(executor.contract(&name(absent)).is_none(), "{absent}");
        }
    });
}

/// Runs a call with its first tensor as it is and in other places.
fn check_anywhere(device: &CudaDevice, function: &str, input: &TensorBuf, call: impl Fn(&TensorBuf) -> Call) {
    call(input).check(device, function);
    for input in elsewhere(input) {
        call(&input).check(device, function);
    }
}

#[test]
fn norms_are_the_cpu_s() {
    on_device("executor::norms_are_the_cpu_s", |_, device| {
        for dtype in FLOATS {
            for shape in [&[3, 7][..], &[2, 3, 64], &[1, 1000], &[0, 8], &[3, 0], &[5]] {
                let width = *shape.last().unwrap();
                let (input, weight) = (random(dtype, shape, 1), random(dtype, &[width], 2));
                for function in ["rmsnorm", "gemma_rmsnorm"] {
                    check_anywhere(device, function, &input, |input| {
                        Call::default().with(input).with(&weight).named("eps", 1e-5f32)
                    });
                }
                check_anywhere(device, "fused_add_rmsnorm", &input, |input| {
                    Call::default().with(input).with(&random(dtype, shape, 3)).with(&weight)
                });
                let [gamma, beta] = [4, 5].map(|seed| random(DType::Float32, &[width], seed));
                check_anywhere(device, "layernorm", &input, |input| {
                    Call::default().with(input).with(&gamma).with(&beta)
                });
            }
            let (input, weight) = (random(dtype, &[4, 10], 1), random(dtype, &[10], 2));
            let out = &elsewhere(&random(dtype, &[4, 10], 3))[1];
            Call::default().with(&input).with(&weight).named("out", out).check(device, "rmsnorm");
        }
    });
}

#[test]
fn gates_are_the_cpu_s() {
    on_device("executor::gates_are_the_cpu_s", |_, device| {
        for dtype in FLOATS {
            for shape in [&[3, 14][..], &[2, 2, 64], &[1, 1000], &[0, 8], &[2, 0]] {
                for function in ["silu_and_mul", "gelu_and_mul", "gelu_tanh_and_mul"] {
                    let input = random(dtype, shape, 1);
                    check_anywhere(device, function, &input, |input| Call::default().with(input));
                }
            }
        }
    });
}

#[test]
fn rotations_are_the_cpu_s() {
    on_device("executor::rotations_are_the_cpu_s", |_, device| {
        for dtype in FLOATS {
            let (q, k) = (random(dtype, &[5, 3, 18], 1), random(dtype, &[5, 2, 18], 2));
            for interleave in [false, true] {
                for (function, rotary_dim) in
                    [("apply_rope_pos_ids", 18usize), ("apply_llama31_rope_pos_ids", 6)]
                {
                    check_anywhere(device, function, &q, |q| {
                        let call = Call::default().with(q).with(&k).with(&ints(&[0, 7, 3, 500, 4999]));
                        call.named("rotary_dim", rotary_dim).named("interleave", interleave)
                    });
                }
                check_anywhere(device, "apply_rope", &k, |k| {
                    let call =
                        Call::default().with(&q).with(k).with(&ints(&[1, 1, 4])).with(&ints(&[9, 100]));
                    call.named("interleave", interleave)
                });
                let cache = random(DType::Float32, &[9, 6], 3);
                check_anywhere(device, "apply_rope_with_cos_sin_cache", &random(dtype, &[3, 36], 4), |q| {
                    let call =
                        Call::default().with(&ints(&[2, 0, 8])).with(q).with(&random(dtype, &[3, 18], 5));
                    call.with(18usize).with(&cache).named("is_neox", !interleave)
                });
            }
            let none = random(dtype, &[0, 3, 18], 1);
            Call::default().with(&none).with(&none).with(&ints(&[])).check(device, "apply_rope_pos_ids");
        }
    });
}

#[test]
fn products_are_the_cpu_s() {
    on_device("executor::products_are_the_cpu_s", |_, device| {
        for [batch, m, k, n] in [[3, 7, 33, 5], [1, 65, 16, 70], [2, 4, 0, 3], [2, 0, 3, 3], [1, 1, 1, 1]] {
            for dtype in FLOATS {
                let b = random(dtype, &[batch, k, n], 2);
                check_anywhere(device, "bmm_bf16", &random(dtype, &[batch, m, k], 1), |a| {
                    Call::default().with(a).with(&elsewhere(&b)[1]).named("out_dtype", DType::Float32)
                });
                let bias = random(DType::BFloat16, &[n], 3);
                check_anywhere(device, "mm_bf16", &random(dtype, &[m, k], 1), |a| {
                    Call::default().with(a).with(&random(dtype, &[k, n], 4)).with(&bias)
                });
            }
            for (a_dtype, b_dtype) in
                [(DType::Float8E4M3Fn, DType::Float8E5M2), (DType::Float8E5M2, DType::Float8E5M2)]
            {
                let (a, b) = (random(a_dtype, &[batch, m, k], 5), random(b_dtype, &[batch, k, n], 6));
                let call = Call::default().with(&a).with(&elsewhere(&b)[1]).with(0.75f32).with(1.5f32);
                for dtype in [DType::BFloat16, DType::Float8E4M3Fn] {
                    call.clone().with(dtype).check(device, "bmm_fp8");
                }
                let columns = random(b_dtype, &[n, k], 7);
                let a = random(a_dtype, &[m, k], 8);
                let call = Call::default().with(&a).with(&columns).with(0.25f32);
                call.named("backend", "cutlass").check(device, "mm_fp8");
            }
        }
    });
}

#[test]
fn codes_of_four_bits_are_the_cpu_s() {
    on_device("executor::codes_of_four_bits_are_the_cpu_s", |_, device| {
        for dtype in [DType::Float16, DType::BFloat16, DType::Float32, DType::Float8E4M3Fn] {
            for layout in [0i64, 1, 2] {
                check_anywhere(device, "nvfp4_quantize", &random(dtype, &[2, 48, 96], 1), |input| {
                    Call::default().with(input).with(448.0f32).named("sfLayout", layout)
                });
            }
            let call = Call::default().with(&random(dtype, &[3, 64], 2)).named("sf_vec_size", 32usize);
            call.named("sf_use_ue8m0", true).check(device, "fp4_quantize");
        }
        let quantized = |rows, seed| {
            let call = Call::default().with(&random(DType::BFloat16, &[rows, 96], seed)).with(448.0f32);
            let Value::Tuple { items, .. } = call.on_cuda(device, "nvfp4_quantize").unwrap() else {
                panic!("codes and scales")
            };
            let [Value::Tensor(codes), Value::Tensor(scales)] = &items[..] else { panic!("{items:?}") };
            [codes.clone(), scales.clone()]
        };
        let ([a, a_scales], b) = (quantized(70, 3), quantized(33, 4));
        let [b, b_scales] = b.map(|tensor| transposed(&tensor));
        let call = Call::default().with(&a).with(&b).with(&a_scales).with(&b_scales);
        call.clone().with(1e-3f32).check(device, "mm_fp4");
        call.with(&random(DType::Float32, &[70], 5))
            .named("out_dtype", DType::Float16)
            .check(device, "mm_fp4");
    });
}

fn transposed(tensor: &TensorBuf) -> TensorBuf {
    let &[rows, columns] = tensor.shape() else { panic!("a matrix") };
    let layout = callbox::core::Layout::new(&[columns, rows], &[1, columns], 0).unwrap();
    tensor.with_layout(layout).unwrap()
}

#[test]
fn what_no_kernel_has_is_refused_by_the_argument_s_name() {
    on_device("executor::what_no_kernel_has_is_refused_by_the_argument_s_name", |_, device| {
        let (double, half) = (random(DType::Float64, &[2, 4], 1), random(DType::Float16, &[4], 2));
        let wide = random(DType::Float16, &[2, 4], 3);
        for (function, call, expected) in [
            ("rmsnorm", Call::default().with(&double).with(&half), "input"),
            ("rmsnorm", Call::default().with(&wide).with(&random(DType::Float32, &[4], 4)), "weight"),
            ("silu_and_mul", Call::default().with(&double), "input"),
            ("mm_bf16", Call::default().with(&wide).with(&random(DType::BFloat16, &[4, 2], 5)), "b"),
            (
                "mm_bf16",
                Call::default()
                    .with(&wide)
                    .with(&random(DType::Float16, &[4, 2], 5))
                    .named("out_dtype", DType::Float64),
                "result",
            ),
        ] {
            let error = call.on_cuda(device, function).unwrap_err();
            assert!(
                matches!(&error, ExecError::NoKernelFor { argument, .. } if argument == expected),
                "{function}: {error:?}"
            );
        }
    });
}

#[test]
fn a_recorded_call_that_no_kernel_is_there_for_is_skipped_and_passes_on_the_cpu() {
    const NAME: &str =
        "executor::a_recorded_call_that_no_kernel_is_there_for_is_skipped_and_passes_on_the_cpu";
    on_device(NAME, |_, device| {
        let inputs =
            [("arg_0", random(DType::Float64, &[2, 4], 1)), ("arg_1", random(DType::Float64, &[4], 2))];
        let [input, weight] = inputs.each_ref().map(|(_, tensor)| Value::Tensor(tensor.clone()));
        let mut arguments = Arguments { positional: vec![input, weight], ..Arguments::default() };
        let Value::Tensor(normed) = CpuExecutor.call(&name("rmsnorm"), &mut arguments).unwrap() else {
            panic!("a norm is a tensor")
        };
        let mut source = MemorySource::default();
        let groups: [(Group, &[_]); 2] = [(Group::Inputs, &inputs), (Group::Outputs, &[("result", normed)])];
        let call = source.push(sample::record("flashinfer", "rmsnorm"), &groups);
        let verdict = |executor: &mut dyn Executor| {
            let options = ReplayOptions::default();
            replay_from_dump(&source, &call, executor, &mut Objects::default(), &options).verdict
        };
        assert_eq!(verdict(&mut CpuExecutor), Verdict::Passed);
        let reason = "the device has no kernel for argument `input`: torch.float64".to_owned();
        let skipped = Verdict::Skipped { reason };
        assert_eq!(verdict(&mut CudaKernels::new(device.clone()).into_executor()), skipped);
    });
}
