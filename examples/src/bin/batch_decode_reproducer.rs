//! Replays a session with an object: its constructor, `plan` and `run` go to one instance.
//!
//! ```sh
//! cargo run --release -p callbox-examples --bin batch_decode_reproducer -- batch_decode_dumps
//! ```

#![expect(clippy::print_stdout, reason = "the program shows its result")]

use std::env;

use anyhow::{Result, bail};
use callbox::core::{DumpSource, Value};
use callbox::replay::{Counts, SequenceOptions, replay_sequence};
use callbox_kernels_cpu::CpuExecutor;

fn main() -> Result<()> {
    let folder = env::args().nth(1).unwrap_or_else(|| "batch_decode_dumps".to_owned());
    let source = callbox::open_session(folder.as_ref())?;
    let session = source.calls()?;

    let mut counts = Counts::default();
    let executor = || -> Box<dyn callbox::core::Executor> { Box::new(CpuExecutor) };
    let options = SequenceOptions::default();
    replay_sequence(&source, &session, &executor, &|_| true, &options, &mut |number, replayed| {
        println!(
            "[{number}] {} ({}): {}",
            replayed.call.function.name(),
            replayed.call.folder,
            replayed.verdict
        );
        counts.add(&replayed.verdict);
        if let Some(Value::Tuple { items, .. }) = &replayed.result {
            for (name, item) in ["output", "LSE"].into_iter().zip(items) {
                if let Value::Tensor(tensor) = item {
                    let shown = tensor.to_f32().map(|values| values[..3].to_vec());
                    println!("    replayed {name} {:?}: {shown:?} ...", tensor.shape());
                }
            }
        }
    });
    println!("\nSummary: {} passed, {} failed/mismatch", counts.passed, counts.bad());
    if counts.bad() > 0 {
        bail!("some calls do not reproduce");
    }
    Ok(())
}
