//! `rope.cu` against the reference's rotary embeddings.

use callbox_core::{DType, TensorBuf};
use callbox_cuda_tests::{Argument, Launch, Memory};

use crate::trial::{Call, FLOATS, check_close, download, ints, launch, random, spaced, upload};

/// How heads turn.
#[derive(Clone, Copy, Debug)]
struct Turn {
    rotary_dim: usize,
    interleave: bool,
    theta: f32,
    scale: f32,
    /// `low_freq_factor`, `high_freq_factor`, `old_context_len`.
    llama: Option<[f32; 3]>,
}

impl Turn {
    fn options(&self, call: Call) -> Call {
        let call = call
            .named("rotary_dim", self.rotary_dim)
            .named("interleave", self.interleave)
            .named("rope_scale", self.scale)
            .named("rope_theta", self.theta);
        match self.llama {
            Some([low, high, context]) => call
                .named("low_freq_factor", low)
                .named("high_freq_factor", high)
                .named("old_context_len", context),
            None => call,
        }
    }

    fn frequencies(&self) -> Argument<'static> {
        let [low, high, context] = self.llama.unwrap_or_default();
        Argument::structure().f32(self.theta).f32(self.scale).f32(low).f32(high).f32(context)
    }
}

const TURNS: [Turn; 4] = [
    Turn { rotary_dim: 16, interleave: false, theta: 1e4, scale: 1.0, llama: None },
    Turn { rotary_dim: 16, interleave: true, theta: 5e5, scale: 2.0, llama: None },
    Turn { rotary_dim: 6, interleave: false, theta: 1e4, scale: 8.0, llama: Some([1.0, 4.0, 64.0]) },
    Turn { rotary_dim: 10, interleave: true, theta: 1e4, scale: 8.0, llama: Some([1.0, 4.0, 8192.0]) },
];

/// The structure `Heads`, of heads that lie as `tensor` has them and go to `out`, row-major.
fn heads<'a>(tensor: &TensorBuf, [input, out]: [&'a Memory; 2], turn: &Turn, wide: bool) -> Argument<'a> {
    let [_, n_heads, width] = tensor.shape().try_into().unwrap();
    let strides = tensor.layout().strides();
    Argument::structure()
        .memory(input)
        .memory(out)
        .i64(strides[0] as i64)
        .i64(strides[1] as i64)
        .i64((n_heads * width) as i64)
        .i64(width as i64)
        .u32(n_heads as u32)
        .u32(width as u32)
        .u32(turn.rotary_dim as u32)
        .u32(u32::from(turn.interleave))
        .u32(u32::from(wide))
        .u32(0)
}

/// Runs a kernel on one tensor of heads, to memory of its own and in place.
fn check(
    kernel: &str,
    tensor: &TensorBuf,
    turn: &Turn,
    wide: bool,
    rest: &[Argument<'_>],
    expected: &TensorBuf,
) {
    let item = tensor.dtype().item_size();
    let launching = Launch::new(tensor.shape()[0], 64);
    let what = format!("{kernel} {turn:?} of {tensor:?}");
    let (input, out) = (upload(tensor), Memory::unwritten(tensor.numel() * item));
    let run = |memories| {
        let mut arguments = vec![heads(tensor, memories, turn, wide)];
        arguments.extend_from_slice(rest);
        launch(kernel, launching, &arguments);
        check_close(&download(memories[1], tensor.dtype(), tensor.shape()), expected, 2e-6, &what);
    };
    run([&input, &out]);
    if tensor.layout().is_contiguous() {
        run([&input, &input]);
    }
}

fn queries_and_keys(dtype: DType, tokens: usize) -> [TensorBuf; 2] {
    [random(dtype, &[tokens, 3, 18], 1), spaced(&random(dtype, &[tokens, 2, 18], 2), 4)]
}

fn longs(values: &[i32]) -> TensorBuf {
    let bytes = values.iter().flat_map(|&value| i64::from(value).to_le_bytes()).collect();
    TensorBuf::from_elements(DType::Int64, &[values.len()], bytes).unwrap()
}

#[test]
fn tokens_turn_by_their_positions() {
    let positions = [0, 7, 3, 500, 4999];
    for (dtype, suffix) in FLOATS {
        let both = queries_and_keys(dtype, positions.len());
        for turn in &TURNS {
            for (wide, pos_ids) in [(false, ints(&positions)), (true, longs(&positions))] {
                let function = match turn.llama {
                    Some(_) => "apply_llama31_rope_pos_ids",
                    None => "apply_rope_pos_ids",
                };
                let call = Call::default().with(&both[0]).with(&both[1]).with(&pos_ids);
                let expected = turn.options(call).of(function);
                let pos_ids = upload(&pos_ids);
                for (tensor, expected) in both.iter().zip(&expected) {
                    let kernel = format!("apply_rope_pos_ids_{suffix}");
                    let rest = [turn.frequencies(), (&pos_ids).into()];
                    check(&kernel, tensor, turn, wide, &rest, expected);
                }
            }
        }
    }
}

#[test]
fn tokens_turn_by_their_places_in_segments() {
    // Tokens before the first segment and behind the last, and empty ones between.
    let (indptr, offsets) = (ints(&[1, 1, 4, 4, 6]), ints(&[9, 100, 5, 30]));
    for (dtype, suffix) in FLOATS {
        let both = queries_and_keys(dtype, 7);
        for turn in &TURNS {
            let function = match turn.llama {
                Some(_) => "apply_llama31_rope",
                None => "apply_rope",
            };
            let call = Call::default().with(&both[0]).with(&both[1]).with(&indptr).with(&offsets);
            let expected = turn.options(call).of(function);
            let (indptr, offsets) = (upload(&indptr), upload(&offsets));
            for (tensor, expected) in both.iter().zip(&expected) {
                let rest = [turn.frequencies(), (&indptr).into(), (&offsets).into(), 4u32.into()];
                check(&format!("apply_rope_{suffix}"), tensor, turn, false, &rest, expected);
            }
        }
    }
}

#[test]
fn tokens_turn_by_cosines_and_sines_that_are_given() {
    let positions = longs(&[2, 0, 4]);
    for (dtype, suffix) in FLOATS {
        for turn in &TURNS {
            let heads = random(dtype, &[3, 2, 18], 4);
            let flat = TensorBuf::from_elements(dtype, &[3, 36], heads.to_bytes()).unwrap();
            let cache = random(DType::Float32, &[5, turn.rotary_dim], 5);
            let call = Call::default().with(&positions).with(&flat).with(&flat).with(18usize).with(&cache);
            let expected = call.named("is_neox", !turn.interleave).of("apply_rope_with_cos_sin_cache");
            let expected = TensorBuf::from_elements(dtype, &[3, 2, 18], expected[0].to_bytes()).unwrap();
            let (positions, cache) = (upload(&positions), upload(&cache));
            let kernel = format!("apply_rope_with_cos_sin_cache_{suffix}");
            check(&kernel, &heads, turn, true, &[(&positions).into(), (&cache).into()], &expected);
        }
    }
}
