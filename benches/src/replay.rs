//! Replaying a session on the CPU.

use std::sync::Arc;

use callbox_core::{DumpSource, TensorSerializer};
use callbox_format_pt::PtSerializer;
use callbox_kernels_cpu::CpuExecutor;
use callbox_replay::{Counts, SequenceOptions, replay_sequence};
use callbox_sink_fs::{FsSource, ReadOptions};

use crate::batch_decode::BatchDecode;
use crate::harness::{Measurement, Variant, race};
use crate::session;

const ROUNDS: usize = 15;

/// Measures the decoding call alone, and the whole session from its files to the verdicts.
pub(crate) fn measure() -> anyhow::Result<Vec<Measurement>> {
    let example = BatchDecode::new()?;
    let mut wrapper = example.planned(&mut CpuExecutor)?;
    let results = example.run(&mut *wrapper)?;

    let folder = tempfile::tempdir()?;
    for call in BatchDecode::recorded(results)? {
        session::record(folder.path(), &call)?;
    }
    let run = vec![Variant::new("batch decode, the call alone", || example.run(&mut *wrapper).map(drop))];
    let replay = vec![Variant::new("batch decode, 3 calls replayed", || {
        let formats: Vec<Arc<dyn TensorSerializer>> = vec![Arc::new(PtSerializer)];
        let source = FsSource::open(folder.path(), formats, ReadOptions::default())?;
        replay_all(&source)
    })];
    Ok([race(ROUNDS, None, run)?, race(ROUNDS, None, replay)?].concat())
}

fn replay_all(source: &FsSource) -> anyhow::Result<()> {
    let session = source.calls()?;
    let mut counts = Counts::default();
    replay_sequence(
        source,
        &session,
        &|| Box::new(CpuExecutor),
        &|_| true,
        &SequenceOptions::default(),
        &mut |_, replayed| counts.add(&replayed.verdict),
    );
    anyhow::ensure!(counts.passed == session.calls.len(), "the calls did not all pass: {counts}");
    Ok(())
}
