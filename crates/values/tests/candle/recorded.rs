//! A transformer block of candle's tensors, recorded at level 10 and replayed by the same functions.

use std::path::Path;

use callbox::core::{CallState, DumpSource, Executor};
use callbox::replay::{SequenceOptions, Verdict, replay_sequence};
use callbox::{Config, DumpFormat, Level, LogDestination};
use candle_core::{DType, Result, Tensor};

use crate::block::{self, Block, WIDTH};

#[callbox::record(replay, kwargs(eps))]
fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    block::rms_norm(x, weight, eps)
}

#[callbox::record(replay)]
fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    block::linear(x, weight)
}

#[callbox::record(replay, kwargs(causal))]
fn attention(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    block::attention(q, k, v, causal)
}

#[callbox::record(replay)]
fn mlp(x: &Tensor, gate: &Tensor, up: &Tensor, down: &Tensor) -> Result<Tensor> {
    block::mlp(x, gate, up, down)
}

/// The block, with its parts annotated.
fn forward(block: &Block, x: &Tensor) -> Result<Tensor> {
    let normed = rms_norm(x, &block.attention_norm, 1e-5)?;
    // Three views of one storage.
    let [q, k, v] = block::split_heads(&linear(&normed, &block.qkv)?)?;
    let merged = attention(&q, &k, &v, true)?.transpose(0, 1)?.flatten_from(1)?;
    let x = (x + linear(&merged, &block.output)?)?;
    let fed = mlp(&rms_norm(&x, &block.mlp_norm, 1e-5)?, &block.gate, &block.up, &block.down)?;
    x + fed
}

const FUNCTIONS: [&str; 6] = ["rms_norm", "linear", "attention", "linear", "rms_norm", "mlp"];

fn record(folder: &Path, format: DumpFormat, dtype: DType) {
    let config = Config {
        level: Level::Dumps,
        log_destination: LogDestination::File(folder.join("log.txt")),
        dump_dir: folder.join("dumps"),
        format,
        ..Config::default()
    };
    let _recording = callbox::install(config.recorder().unwrap());
    let x = block::numbers(9, &[5, WIDTH]).unwrap().to_dtype(dtype).unwrap();
    forward(&Block::new(dtype).unwrap(), &x).unwrap();
}

fn check(format: DumpFormat, dtype: DType) {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), format, dtype);
    let source = callbox::open_session(&folder.path().join("dumps")).unwrap();
    let session = source.calls().unwrap();
    let names: Vec<_> = session.calls.iter().map(|call| call.function.name()).collect();
    assert_eq!(names, FUNCTIONS);
    assert!(session.calls.iter().all(|call| call.state == CallState::Completed));

    let attention_call = source.record(&session.calls[2]).unwrap().record;
    let (_, q) = &attention_call.tensor_details[0];
    assert_eq!((q.shape.as_slice(), q.strides.as_slice()), (&[2, 5, 8][..], &[8, 48, 1][..]));

    let executor = || -> Box<dyn Executor> { Box::new(callbox::registry![rms_norm, linear, attention, mlp]) };
    let mut verdicts = Vec::new();
    let options = SequenceOptions::default();
    replay_sequence(&source, &session, &executor, &|_| true, &options, &mut |_, replayed| {
        verdicts.push(replayed.verdict);
    });
    assert_eq!(verdicts, vec![Verdict::Passed; FUNCTIONS.len()], "{format:?} {dtype:?}");
}

// One test: a recorder is installed for the whole process.
#[test]
fn a_transformer_block_is_recorded_and_replays() {
    for dtype in [DType::F32, DType::BF16] {
        check(DumpFormat::Torch, dtype);
        check(DumpFormat::Safetensors, dtype);
    }
}
