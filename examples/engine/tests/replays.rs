//! The engine's own functions, fed from what they recorded.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

use std::path::Path;

use callbox::core::{DumpSource, Executor};
use callbox::replay::{SequenceOptions, Verdict, replay_sequence};
use callbox::{Config, DumpFormat, Level, LogDestination};
use callbox_example_engine::{Decoder, Tensor, registry};

fn record_three_steps(folder: &Path, format: DumpFormat) {
    let config = Config {
        level: Level::Dumps,
        log_destination: LogDestination::File(folder.join("log.txt")),
        dump_dir: folder.join("dumps"),
        format,
        ..Config::default()
    };
    let _recording = callbox::install(config.recorder().unwrap());
    let row = |seed: f32| Tensor::new(1, 4, (0..4).map(|i| seed + i as f32).collect()).unwrap();
    let weight = Tensor::new(4, 4, (0..16).map(|i| (i as f32).cos()).collect()).unwrap();
    let mut decoder = Decoder::new(row(1.0), weight).unwrap();
    for step in 0..3 {
        decoder.step(&row(step as f32)).unwrap();
    }
}

fn verdicts(folder: &Path) -> Vec<(String, Verdict)> {
    let source = callbox::open_session(&folder.join("dumps")).unwrap();
    let session = source.calls().unwrap();
    let executor = || -> Box<dyn Executor> { Box::new(registry()) };
    let mut verdicts = Vec::new();
    replay_sequence(
        &source,
        &session,
        &executor,
        &|_| true,
        &SequenceOptions::default(),
        &mut |_, replayed| {
            verdicts.push((replayed.call.function.name().to_owned(), replayed.verdict));
        },
    );
    verdicts
}

#[test]
fn every_recorded_call_of_the_engine_replays() {
    for format in [DumpFormat::Torch, DumpFormat::Safetensors] {
        let folder = tempfile::tempdir().unwrap();
        record_three_steps(folder.path(), format);
        let verdicts = verdicts(folder.path());
        let names: Vec<_> = verdicts.iter().map(|(name, _)| name.as_str()).collect();
        let step = ["Decoder.step", "rms_norm", "matmul"];
        assert_eq!(names, [&["Decoder.__init__"], &step[..], &step, &step].concat());
        assert!(verdicts.iter().all(|(_, verdict)| *verdict == Verdict::Passed), "{verdicts:?}");
    }
}
