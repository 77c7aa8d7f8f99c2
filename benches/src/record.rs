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
const MANY: u32 = 1_000_000;
const FEW: u32 = 500;
/// What a call may take. Level 0 is a relaxed load and a branch beside the call itself.
const AT_LEVEL_0: Duration = Duration::from_nanos(2);
const AT_LEVELS: [(Level, Option<Duration>); 4] = [
    (Level::Names, Some(Duration::from_micros(2))),
    (Level::Values, Some(Duration::from_micros(4))),
    (Level::Statistics, None),
    (Level::Dumps, Some(Duration::from_micros(150))),
];

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
            Variant::new(format!("{MANY} plain calls"), || repeat(MANY, || plain_sum(1, 2))).of_calls(MANY),
            Variant::new(format!("{MANY} calls, level 0"), || repeat(MANY, || sum(1, 2)))
                .of_calls(MANY)
                .with_target(Target::PerCall(AT_LEVEL_0)),
        ],
    )?;
    for (level, target) in AT_LEVELS {
        measurements.extend(measure_level(level, target)?);
    }
    Ok(measurements)
}

fn measure_level(level: Level, target: Option<Duration>) -> anyhow::Result<Vec<Measurement>> {
    let elements = vec![1.0f32; ELEMENTS];
    let view = || tensor_of(&elements, &[ELEMENTS]).expect("as many elements as the shape says");
    let folder = tempfile::tempdir()?;
    let config = Config {
        level,
        log_destination: LogDestination::File(folder.path().join("log.txt")),
        dump_dir: folder.path().join("dumps"),
        limits: Limits { max_count: u64::MAX, max_bytes: u64::MAX, ..Limits::default() },
        ..Config::default()
    };
    let recorder = config.recorder()?;
    let number = level.number();
    let calls = Variant::new(format!("{FEW} calls, level {number}"), || {
        let _recording = callbox::install(recorder.clone());
        repeat(FEW, || first(view(), view(), 0.5))
    });
    let mut measurements = race(ROUNDS, None, vec![calls.of_calls(FEW)])?;
    let ours = measurements.last_mut().context("one variant was measured")?;
    ours.target = target.map(Target::PerCall);
    if let Some(peer) = measure_peer(folder.path(), number)? {
        ours.ratio = Some(peer.best.as_secs_f64() / ours.best.as_secs_f64());
        measurements.insert(0, peer);
    }
    Ok(measurements)
}

/// Runs FlashInfer's recorder in its own process; `None` where there is no venv.
#[expect(clippy::disallowed_methods, reason = "where the venv is, is the environment's matter")]
fn measure_peer(folder: &Path, level: u8) -> anyhow::Result<Option<Measurement>> {
    let Some(python) = env::var_os(PEER_PYTHON) else {
        return Ok(None);
    };
    let script = folder.join("peer.py");
    fs::write(&script, PEER)?;
    let output = Command::new(&python)
        .arg(&script)
        .args([(ELEMENTS * 4).to_string(), FEW.to_string(), ROUNDS.to_string()])
        .env("FLASHINFER_LOGLEVEL", level.to_string())
        .env("FLASHINFER_LOGDEST", folder.join("peer.log"))
        .env("FLASHINFER_DUMP_DIR", folder.join("peer_dumps"))
        .env("FLASHINFER_DUMP_MAX_COUNT", "1000000")
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("failed to run {}", python.display()))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let seconds = text.lines().last().and_then(|line| {
        let (best, median) = line.split_once(' ')?;
        Some((best.parse().ok()?, median.parse().ok()?))
    });
    match seconds {
        Some((best, median)) if output.status.success() => Ok(Some(Measurement {
            what: format!("{FEW} calls of FlashInfer's, level {level}"),
            best: Duration::from_secs_f64(best),
            median: Duration::from_secs_f64(median),
            bytes: None,
            calls: Some(FEW),
            ratio: None,
            target: None,
        })),
        Some(_) | None => bail!("FlashInfer's recorder failed: {}", text.trim_end()),
    }
}

fn repeat<T>(times: u32, mut call: impl FnMut() -> T) -> anyhow::Result<()> {
    for _ in 0..times {
        black_box(call());
    }
    Ok(())
}
