//! Counts the calls of a session by function, and names those that did not complete.
//!
//! ```sh
//! cargo run --release -p callbox-examples --bin scan_session -- batch_decode_dumps
//! ```

#![expect(clippy::print_stdout, reason = "the program shows its result")]

use std::collections::BTreeMap;
use std::env;

use anyhow::Result;
use callbox::core::{CallState, DumpSource};

fn main() -> Result<()> {
    let folder = env::args().nth(1).unwrap_or_else(|| "flashinfer_dumps".to_owned());
    let session = callbox::open_session(folder.as_ref())?.calls()?;

    let mut functions: BTreeMap<&str, usize> = BTreeMap::new();
    let completed = session.calls.iter().filter(|call| call.state == CallState::Completed);
    for call in completed {
        *functions.entry(call.function.name()).or_default() += 1;
    }
    println!("Total completed calls: {}", functions.values().sum::<usize>());
    println!("\nCalls by function:");
    for (function, count) in &functions {
        println!("  {function}: {count}");
    }

    let incomplete: Vec<_> = session.calls.iter().filter(|call| call.state.is_suspected_crash()).collect();
    if !incomplete.is_empty() {
        println!("\n⚠️  Found {} incomplete calls (potential crashes):", incomplete.len());
        for call in incomplete {
            println!("  - {} at {folder}/{}", call.function.name(), call.folder);
        }
    }
    Ok(())
}
