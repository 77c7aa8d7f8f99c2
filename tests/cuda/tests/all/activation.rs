//! `activation.cu` against the reference's gated activations.

use callbox_core::TensorBuf;
use callbox_cuda_tests::{Launch, Memory};

use crate::trial::{Call, FLOATS, check_close, download, launch, random, spaced, upload};

fn check(function: &str, input: &TensorBuf, suffix: &str) {
    let [rows, width] = input.shape().try_into().unwrap();
    let expected = Call::default().with(input).of(function);
    let half = width / 2;
    let out = Memory::unwritten(rows * half * input.dtype().item_size());
    launch(
        &format!("{function}_{suffix}"),
        Launch::new(rows, 64),
        &[
            (&upload(input)).into(),
            (&out).into(),
            (half as u32).into(),
            (input.layout().strides()[0] as i64).into(),
            (half as i64).into(),
        ],
    );
    let what = format!("{function} of {input:?}");
    check_close(&download(&out, input.dtype(), &[rows, half]), &expected[0], 1e-6, &what);
}

#[test]
fn rows_of_any_even_width_are_gated() {
    for function in ["silu_and_mul", "gelu_and_mul", "gelu_tanh_and_mul"] {
        for (dtype, suffix) in FLOATS {
            for (seed, (rows, width)) in [(1, 2), (3, 14), (2, 64), (3, 1000)].into_iter().enumerate() {
                let input = random(dtype, &[rows, width], seed as u64);
                check(function, &input, suffix);
                check(function, &spaced(&input, 5), suffix);
            }
        }
    }
}
