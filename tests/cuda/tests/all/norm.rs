//! `norm.cu` against the reference's norms.

use callbox_core::{DType, TensorBuf};
use callbox_cuda_tests::{Launch, Memory};

use crate::trial::{Call, FLOATS, check_close, download, launch, random, spaced, upload};

fn check(function: &str, input: &TensorBuf, threads: u32, suffix: &str) {
    let [rows, width] = input.shape().try_into().unwrap();
    let weight = random(input.dtype(), &[width], 7);
    let expected = Call::default().with(input).with(&weight).named("eps", 1e-5f32).of(function);
    let item = input.dtype().item_size();
    let out = Memory::unwritten(rows * width * item);
    launch(
        &format!("rmsnorm_{suffix}"),
        Launch::new(rows, threads),
        &[
            (&upload(input)).into(),
            (&upload(&weight)).into(),
            (&out).into(),
            (width as u32).into(),
            (input.layout().strides()[0] as i64).into(),
            (width as i64).into(),
            1e-5f32.into(),
            (if function == "rmsnorm" { 0f32 } else { 1.0 }).into(),
        ],
    );
    let what = format!("{function} of {input:?}");
    check_close(&download(&out, input.dtype(), &[rows, width]), &expected[0], 1e-6, &what);
}

#[test]
fn rows_of_any_width_are_normed() {
    for (dtype, suffix) in FLOATS {
        for (seed, (rows, width)) in
            [(1, 1), (3, 7), (2, 64), (5, 257), (2, 1000), (1, 4096)].into_iter().enumerate()
        {
            let input = random(dtype, &[rows, width], seed as u64);
            check("rmsnorm", &input, 128, suffix);
            check("gemma_rmsnorm", &input, 32, suffix);
        }
    }
}

#[test]
fn rows_may_lie_apart() {
    for (dtype, suffix) in FLOATS {
        for gap in [1, 3, 8] {
            check("rmsnorm", &spaced(&random(dtype, &[4, 40], 3), gap), 64, suffix);
        }
    }
}

#[test]
fn a_residual_is_added_before_the_norm() {
    for (dtype, suffix) in FLOATS {
        for (rows, width) in [(1, 1), (3, 40), (2, 300)] {
            let [input, residual] = [1, 2].map(|seed| random(dtype, &[rows, width], seed));
            let weight = random(dtype, &[width], 3);
            let call = Call::default().with(&input).with(&residual).with(&weight).named("eps", 1e-5f32);
            let expected = call.in_place("fused_add_rmsnorm");
            let [input, residual] = [upload(&input), upload(&residual)];
            launch(
                &format!("fused_add_rmsnorm_{suffix}"),
                Launch::new(rows, 64),
                &[
                    (&input).into(),
                    (&residual).into(),
                    (&upload(&weight)).into(),
                    (width as u32).into(),
                    (width as i64).into(),
                    (width as i64).into(),
                    1e-5f32.into(),
                    0f32.into(),
                ],
            );
            for (memory, expected) in [input, residual].iter().zip(&expected) {
                let what = format!("fused_add_rmsnorm_{suffix} of {rows} x {width}");
                check_close(&download(memory, dtype, &[rows, width]), expected, 1e-6, &what);
            }
        }
    }
}

#[test]
fn layers_are_normed() {
    for (dtype, suffix) in FLOATS {
        for (rows, width) in [(1, 1), (3, 40), (2, 300)] {
            let input = spaced(&random(dtype, &[rows, width], 1), 3);
            let [gamma, beta] = [2, 3].map(|seed| random(DType::Float32, &[width], seed));
            let call = Call::default().with(&input).with(&gamma).with(&beta).named("eps", 1e-5f32);
            let out = Memory::unwritten(rows * width * dtype.item_size());
            launch(
                &format!("layernorm_{suffix}"),
                Launch::new(rows, 64),
                &[
                    (&upload(&input)).into(),
                    (&upload(&gamma)).into(),
                    (&upload(&beta)).into(),
                    (&out).into(),
                    (width as u32).into(),
                    (input.layout().strides()[0] as i64).into(),
                    (width as i64).into(),
                    1e-5f32.into(),
                ],
            );
            let what = format!("layernorm_{suffix} of {rows} x {width}");
            let expected = &call.of("layernorm")[0];
            check_close(&download(&out, dtype, &[rows, width]), expected, 2e-6, &what);
        }
    }
}
