//! Calls in which something does not fit: whatever it is, the answer is an error and never a panic, and sizes
//! that no memory could hold are refused before anything is allocated for them.

use std::sync::{Arc, Mutex};

use callbox_core::{
    Arguments, Bytes, DType, Device, Executor, FunctionName, Layout, OwnedValue, TensorBuf, Value,
};
use callbox_functions::{FunctionExecutor, Kernel, Kernels, function_names};
use proptest::prelude::*;

use crate::CpuExecutor;
use crate::trial::{Trial, byte_tensor, call, ints, random, scalar};

/// A call of each function that succeeds.
fn good_calls() -> Vec<Trial> {
    let f16 = |shape: &[usize]| random(DType::Float16, shape, 1);
    let f32 = |shape: &[usize]| random(DType::Float32, shape, 2);
    let fp8 = |shape: &[usize]| random(DType::Float8E4M3Fn, shape, 3);
    let bytes = |shape: &[usize]| byte_tensor(shape, &vec![0x22; shape.iter().product()]);
    let norm = |name| call(name).with(f16(&[2, 16])).with(f16(&[16])).with(1e-6).with(f16(&[2, 16]));
    let gate = |name| call(name).with(f16(&[2, 16])).with(f16(&[2, 8]));
    let heads = |name| call(name).with(f16(&[3, 2, 8])).with(f16(&[3, 1, 8]));
    let segments = |name| heads(name).with(ints(&[0, 1, 3])).with(ints(&[5, 0])).with(6i64).with(true);
    let tokens = |name| heads(name).with(ints(&[0, 1, 3])).with(6i64).with(true);
    vec![
        norm("rmsnorm"),
        norm("gemma_rmsnorm"),
        call("fused_add_rmsnorm").with(f16(&[2, 16])).with(f16(&[2, 16])).with(f16(&[16])),
        call("layernorm").with(f16(&[2, 16])).with(f32(&[16])).with(f32(&[16])),
        gate("silu_and_mul"),
        gate("gelu_and_mul"),
        gate("gelu_tanh_and_mul"),
        segments("apply_rope"),
        segments("apply_llama31_rope"),
        tokens("apply_rope_pos_ids"),
        tokens("apply_llama31_rope_pos_ids"),
        call("apply_rope_with_cos_sin_cache")
            .with(ints(&[0, 3]))
            .with(f16(&[2, 16]))
            .with(f16(&[2, 8]))
            .with(8i64)
            .with(f32(&[4, 8])),
        call("merge_state").with(f16(&[2, 3, 8])).with(f32(&[2, 3])).with(f16(&[2, 3, 8])).with(f32(&[2, 3])),
        call("merge_states").with(f16(&[2, 4, 3, 8])).with(f32(&[2, 4, 3])),
        call("append_paged_kv_cache")
            .with(f16(&[2, 1, 8]))
            .with(f16(&[2, 1, 8]))
            .with(ints(&[0, 1]))
            .with(ints(&[3, 0]))
            .with(f16(&[4, 2, 2, 1, 8]))
            .with(ints(&[3, 1, 0]))
            .with(ints(&[0, 2, 3]))
            .with(ints(&[2, 1])),
        call("softmax").with(f32(&[2, 16])).with(f32(&[2])),
        call("top_k_renorm_probs").with(f32(&[2, 16])).with(ints(&[3, 4])),
        call("top_k_mask_logits").with(f32(&[2, 16])).with(3i64),
        call("top_p_renorm_probs").with(f32(&[2, 16])).with(f32(&[2])),
        call("bmm_fp8")
            .with(fp8(&[2, 3, 8]))
            .with(fp8(&[2, 8, 4]))
            .with(scalar(1.0))
            .with(scalar(1.0))
            .with(DType::Float16)
            .with(f16(&[2, 3, 4])),
        call("mm_fp8").with(fp8(&[3, 8])).with(fp8(&[4, 8])).with(scalar(1.0)),
        call("mm_bf16").with(f16(&[3, 8])).with(f16(&[8, 4])).with(f16(&[4])),
        call("bmm_bf16").with(f16(&[2, 3, 8])).with(f16(&[2, 8, 4])),
        call("mm_fp4")
            .with(bytes(&[3, 16]))
            .with(bytes(&[16, 4]))
            .with(bytes(&[128, 4]))
            .with(bytes(&[4, 128]))
            .with(f32(&[3])),
        call("nvfp4_quantize").with(f16(&[3, 32])).with(scalar(1.0)).with(1i64),
        call("fp4_quantize").with(f16(&[3, 32])).with(scalar(1.0)).with(16i64).with(false),
    ]
}

/// What is done to an argument.
#[derive(Clone, Debug)]
pub(crate) enum Malice {
    /// Another value altogether.
    Replace(OwnedValue),
    /// A tensor gets another size in one dimension, over no more storage than it had.
    Resize { dimension: usize, size: usize },
    /// A tensor loses its first dimension, or gets one more.
    Rank { more: bool },
    /// A tensor's elements become all ones, all zeros, or NaN and the like.
    Fill(u8),
    /// The argument is not there.
    Drop,
}

/// Anything that may be done to an argument.
pub(crate) fn malice() -> impl Strategy<Value = Malice> {
    let values = vec![
        Value::None,
        Value::Bool(true),
        Value::int(-1),
        Value::int(0),
        Value::int(7),
        Value::int(i64::MAX),
        Value::Float(f64::NAN),
        Value::Float(-1e300),
        Value::text("HND"),
        Value::DType("torch.int8".to_owned()),
        Value::List(Vec::new()),
        Value::tuple(vec![Value::None, Value::None]),
        Value::Tensor(ints(&[-1, i32::MAX])),
        Value::Tensor(random(DType::Float32, &[2, 3, 4], 5)),
        Value::Tensor(random(DType::Float64, &[], 6)),
        Value::Tensor(TensorBuf::from_elements(DType::Complex64, &[2], vec![0; 16]).unwrap()),
    ];
    prop_oneof![
        prop::sample::select(values).prop_map(Malice::Replace),
        (0usize..5, prop::sample::select(vec![0, 1, 2, 3, 5, 1 << 40, 1 << 62]))
            .prop_map(|(dimension, size)| Malice::Resize { dimension, size }),
        any::<bool>().prop_map(|more| Malice::Rank { more }),
        prop::sample::select(vec![0x00, 0x7f, 0xff]).prop_map(Malice::Fill),
        Just(Malice::Drop),
    ]
}

impl Malice {
    /// Does it to an argument by position.
    pub(crate) fn apply(&self, arguments: &mut Arguments, place: usize) {
        if arguments.positional.is_empty() {
            return;
        }
        let place = place % arguments.positional.len();
        let argument = &mut arguments.positional[place];
        match (self, argument) {
            (Malice::Drop, _) => drop(arguments.positional.remove(place)),
            (Malice::Replace(value), argument) => *argument = value.clone(),
            (Malice::Fill(byte), Value::Tensor(tensor)) => {
                let storage = vec![*byte; tensor.storage().len()];
                *tensor =
                    TensorBuf::new(tensor.dtype(), tensor.layout().clone(), Bytes::from(storage)).unwrap();
            }
            (Malice::Resize { dimension, size }, Value::Tensor(tensor)) if !tensor.shape().is_empty() => {
                let (mut shape, mut strides) = (tensor.shape().to_vec(), tensor.layout().strides().to_vec());
                let dimension = dimension % shape.len();
                if *size > shape[dimension] {
                    strides[dimension] = 0;
                }
                shape[dimension] = *size;
                relay(tensor, &shape, &strides);
            }
            (Malice::Rank { more: true }, Value::Tensor(tensor)) => {
                let shape = [&[1], tensor.shape()].concat();
                let strides = [&[1], tensor.layout().strides()].concat();
                relay(tensor, &shape, &strides);
            }
            (Malice::Rank { more: false }, Value::Tensor(tensor)) if !tensor.shape().is_empty() => {
                let (shape, strides) =
                    (tensor.shape()[1..].to_vec(), tensor.layout().strides()[1..].to_vec());
                relay(tensor, &shape, &strides);
            }
            (Malice::Fill(_) | Malice::Resize { .. } | Malice::Rank { .. }, _) => {}
        }
    }
}

/// Puts another layout over a tensor, if there is such a layout.
fn relay(tensor: &mut TensorBuf, shape: &[usize], strides: &[usize]) {
    if let Ok(layout) = Layout::new(shape, strides, 0) {
        *tensor = tensor.with_layout(layout).unwrap();
    }
}

fn name_and_arguments(trial: Trial) -> (FunctionName, Arguments) {
    (trial.function().clone(), trial.into_arguments())
}

#[test]
fn good_calls_succeed_and_leave_no_function_out() {
    let mut left = function_names()
        .filter(|name| !name.contains('.') && !name.starts_with("single_"))
        .collect::<Vec<_>>();
    for trial in good_calls() {
        let (name, mut arguments) = name_and_arguments(trial);
        left.retain(|other| *other != name.name());
        if let Err(error) = CpuExecutor.call(&name, &mut arguments) {
            panic!("{name}: {error}");
        }
    }
    assert_eq!(left, [""; 0]);
}

/// Says that it has every kernel, and has none.
#[derive(Clone, Debug, Default)]
struct Bluff {
    asked: Arc<Mutex<Option<Kernel>>>,
}

impl Kernels for Bluff {
    fn device(&self) -> Device {
        Device::Cuda(1)
    }

    fn has(&self, kernel: Kernel) -> bool {
        *self.asked.lock().unwrap() = Some(kernel);
        true
    }
}

#[test]
fn a_function_asks_for_the_kernel_that_its_row_names() {
    for trial in good_calls() {
        let (name, mut arguments) = name_and_arguments(trial);
        let kernels = Bluff::default();
        let error = FunctionExecutor::new(kernels.clone()).call(&name, &mut arguments).unwrap_err();
        let asked = kernels.asked.lock().unwrap().unwrap();
        assert_eq!(error.to_string(), format!("no kernel `{asked}` on cuda:1"), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_that_is_handed_over_makes_a_function_panic(
        malices in prop::collection::vec((malice(), 0usize..10), 1..4),
    ) {
        for trial in good_calls() {
            let (name, mut arguments) = name_and_arguments(trial);
            for (malice, place) in &malices {
                malice.apply(&mut arguments, *place);
            }
            // An answer either way.
            drop(CpuExecutor.call(&name, &mut arguments));
        }
    }
}
