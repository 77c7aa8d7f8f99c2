//! Whole calls of an annotated function at each level; beside them, where its venv is there, FlashInfer's own.

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, bail};
use callbox::{Config, Level, Limits, LogDestination, tensor_of};

use crate::harness::{Measurement, Target, Variant, race};

/// The interpreter of a venv with FlashInfer; `cargo xtask bench` names it.
const PEER_PYTHON: &str = "CALLBOX_PEER_PYTHON";
const PEER: &str = include_str!("peer.py");
const ELEMENTS: usize = 64;
const ROUNDS: usize = 9;
/// Calls of a round where a call takes nanoseconds, and where it takes microseconds.
const MANY: usize = 1_000_000;
const FEW: usize = 500;

#[inline(never)]
fn plain<'a>(x: callbox::TensorView<'a>, y: callbox::TensorView<'a>, scale: f32) -> callbox::TensorView<'a> {
    black_box((y, scale));
    x
}

#[callbox::record]
#[inline(never)]
fn first<'a>(x: callbox::TensorView<'a>, y: callbox::TensorView<'a>, scale: f32) -> callbox::TensorView<'a> {
    black_box((y, scale));
    x
}

/// The cheapest function that there is.
#[inline(never)]
fn plain_sum(x: u64, y: u64) -> u64 {
    black_box(x) + y
}

#[callbox::record]
#[inline(never)]
fn sum(x: u64, y: u64) -> u64 {
    black_box(x) + y
}

pub(crate) fn measure() -> anyhow::Result<Vec<Measurement>> {
    let mut measurements = race(
        ROUNDS,
        None,
        vec![
            Variant::new(format!("{MANY} plain calls"), || repeat(MANY, || plain_sum(1, 2))),
            Variant::new(format!("{MANY} annotated calls, level 0"), || repeat(MANY, || sum(1, 2))),
        ],
    )?;
    for level in [Level::Names, Level::Values, Level::Statistics, Level::Dumps] {
        measurements.extend(measure_level(level)?);
    }
    Ok(measurements)
}

fn measure_level(level: Level) -> anyhow::Result<Vec<Measurement>> {
    let elements = vec![1.0f32; ELEMENTS];
    let view = || tensor_of(&elements, &[ELEMENTS]).expect("as many elements as the shape says");
    let folder = tempfile::tempdir()?;
    let config = Config {
        level,
        log_destination: LogDestination::File(folder.path().join("log.txt")),
        dump_dir: folder.path().join("dumps"),
        limits: Limits { max_count: u64::MAX, max_bytes: u64::MAX },
        ..Config::default()
    };
    let recorder = config.recorder()?;
    let number = level.number();
    let mut ours = race(
        ROUNDS,
        None,
        vec![
            Variant::new(format!("{FEW} plain calls, 2 tensors of 256 B"), || {
                repeat(FEW, || plain(view(), view(), 0.5))
            }),
            Variant::new(format!("{FEW} calls, level {number}"), || {
                let _recording = callbox::install(recorder.clone());
                repeat(FEW, || first(view(), view(), 0.5))
            }),
        ],
    )?;
    // The plain call says nothing here; what a call may cost does.
    let mut measured = ours.pop().context("two variants were measured")?;
    measured.ratio = None;
    if let Some(peer) = measure_peer(folder.path(), number)? {
        let times = FEW as u32;
        let ratio = (peer.as_secs_f64() * f64::from(times)) / measured.best.as_secs_f64();
        let what = format!("{FEW} calls of FlashInfer's, level {number}");
        let (best, median) = (peer * times, peer * times);
        measured.ratio = Some(ratio);
        measured.target = Some(Target::Ratio(1.0));
        return Ok(vec![
            Measurement { what, best, median, bytes: None, ratio: None, target: None },
            measured,
        ]);
    }
    Ok(vec![measured])
}

/// Runs FlashInfer's recorder in its own process; `None` where there is no venv.
#[expect(clippy::disallowed_methods, reason = "where the venv is, is the environment's matter")]
fn measure_peer(folder: &Path, level: u8) -> anyhow::Result<Option<Duration>> {
    let Some(python) = env::var_os(PEER_PYTHON) else {
        return Ok(None);
    };
    let script = folder.join("peer.py");
    fs::write(&script, PEER)?;
    let output = Command::new(&python)
        .arg(&script)
        .args([(ELEMENTS * 4).to_string(), "200".to_owned()])
        .env("FLASHINFER_LOGLEVEL", level.to_string())
        .env("FLASHINFER_LOGDEST", folder.join("peer.log"))
        .env("FLASHINFER_DUMP_DIR", folder.join("peer_dumps"))
        .env("FLASHINFER_DUMP_MAX_COUNT", "1000000")
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("failed to run {}", python.display()))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let microseconds = text.lines().last().and_then(|line| line.trim().parse::<f64>().ok());
    match microseconds {
        Some(microseconds) if output.status.success() => {
            Ok(Some(Duration::from_secs_f64(microseconds * 1e-6)))
        }
        Some(_) | None => bail!("FlashInfer's recorder failed: {}", text.trim_end()),
    }
}

fn repeat<T>(times: usize, mut call: impl FnMut() -> T) -> anyhow::Result<()> {
    for _ in 0..times {
        black_box(call());
    }
    Ok(())
}
