//! Decodes three steps; the environment says what is recorded.

#![expect(clippy::print_stdout, reason = "the program shows its result")]

use callbox_example_engine::{Decoder, ShapeError, Tensor};

const WIDTH: usize = 64;

fn main() -> Result<(), ShapeError> {
    let _recording = callbox::from_env();
    let wave = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
    let norm = Tensor::new(1, WIDTH, vec![1.0; WIDTH])?;
    let mut decoder = Decoder::new(norm, Tensor::new(WIDTH, WIDTH, wave(WIDTH * WIDTH))?)?;
    let mut x = Tensor::new(1, WIDTH, wave(WIDTH))?;
    for step in 0..3 {
        x = decoder.step(&x)?;
        println!("step {step}: {:?} ...", &x.elements()[..3]);
    }
    Ok(())
}
