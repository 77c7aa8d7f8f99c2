//! Loads the arguments of a recorded `bmm_fp8`, calls it by hand and compares with what was recorded.
//!
//! ```sh
//! cargo run --release -p callbox-examples --bin bmm_fp8_reproducer -- bmm_fp8_dumps
//! ```

#![expect(clippy::print_stdout, reason = "the program shows its result")]

use std::env;

use anyhow::{Context, Result, bail};
use callbox::core::{DumpSource, Executor};
use callbox::replay::{CompareOptions, Objects, ReplayOptions, compare, replay_from_dump};
use callbox_kernels_cpu::CpuExecutor;

fn main() -> Result<()> {
    let folder = env::args().nth(1).unwrap_or_else(|| "bmm_fp8_dumps".to_owned());
    let source = callbox::open_session(folder.as_ref())?;
    let session = source.calls()?;
    let call = session.calls.iter().rev().find(|call| call.function.name() == "bmm_fp8");
    let call = call.with_context(|| format!("{folder}: no call of bmm_fp8"))?;
    println!("Loading dump from: {folder}/{}", call.folder);

    // Only the arguments and the expected results are loaded; the call is made below.
    let options = ReplayOptions { run: false, ..ReplayOptions::default() };
    let loaded = replay_from_dump(&source, call, &mut CpuExecutor, &mut Objects::default(), &options);
    let mut arguments = loaded.arguments.context("the arguments could not be loaded")?;
    let expected = loaded.expected.context("no result was recorded")?;

    let result = CpuExecutor.call(&call.function, &mut arguments)?;
    let contract = CpuExecutor.contract(&call.function).context("the executor has bmm_fp8")?;
    let comparison = compare(&expected, &result, &contract, &CompareOptions::default());
    if !comparison.agrees() {
        bail!("output mismatch: {comparison:?}");
    }
    println!("✅ Output matches expected result!");
    Ok(())
}
