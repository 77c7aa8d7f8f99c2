#![doc = include_str!("../README.md")]
#![expect(dead_code, unreachable_pub, reason = "files of other crates, of which the models use a part")]
#![cfg_attr(
    not(test),
    expect(unused_imports, reason = "files of other crates, of which the models use a part")
)]
#![expect(clippy::print_stdout, reason = "the test reads it")]

mod budget_models;
mod gate_models;
mod health;
mod limits_models;
mod line_models;
mod model_disk;
mod orders;
mod per_process_models;
mod sync;

#[path = "../../../crates/core/src/budget.rs"]
mod budget;
// What the budget names beside them: as it is shipped.
mod error {
    pub(crate) use callbox_core::error::{SinkError, chain};
}
mod limits {
    pub(crate) use callbox_core::{Limits, Usage};
}
mod ports {
    pub(crate) use callbox_core::{Host, UsageCounter, UsageStore};
}
mod recorder {
    /// No model panics.
    pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        work()
    }
}
mod process {
    pub(crate) use callbox_core::Process;
}

#[path = "../../../crates/core/src/gate.rs"]
mod gate;
#[path = "../../../crates/core/src/per_process.rs"]
mod per_process;

#[path = "../../../crates/sink-fs/src/close.rs"]
mod close;
#[path = "../../../crates/sink-fs/src/disk.rs"]
mod disk;
#[path = "../../../crates/sink-fs/src/durability.rs"]
mod durability;
#[path = "../../../crates/sink-fs/src/files/mod.rs"]
mod files;
#[path = "../../../crates/sink-fs/src/leftovers.rs"]
mod leftovers;
#[path = "../../../crates/sink-fs/src/limits_file.rs"]
mod limits_file;
#[path = "../../../crates/sink-fs/src/line_file.rs"]
mod line_file;
#[path = "../../../crates/sink-fs/src/turn.rs"]
mod turn;

// What those files use, of which the package's manifest has to know.
use rustix as _;
#[cfg(test)]
use tempfile as _;
use thiserror as _;
use twox_hash as _;

use callbox_core::planted;

use self::orders::orders;

/// Runs a model and gives the number of its orders.
type Model = fn() -> usize;

const MODELS: [(&str, Model); 13] = [
    ("two threads take calls", budget_models::two_threads_take_calls),
    ("two threads take bytes", budget_models::two_threads_take_bytes),
    ("three threads take calls", budget_models::three_threads_take_calls),
    ("two threads probe a sink that fails", gate_models::two_threads_probe_a_sink_that_fails),
    ("three threads probe a sink that works again", gate_models::three_threads_probe_a_sink_that_works_again),
    ("two threads make the first state", per_process_models::two_threads_make_the_first_state),
    ("two threads make a grandchild's state", per_process_models::two_threads_make_a_grandchilds_state),
    ("three threads make a child's state", per_process_models::three_threads_make_a_childs_state),
    ("two processes share limits", limits_models::two_processes_share_limits),
    ("two threads share limits", limits_models::two_threads_share_limits),
    ("two processes append behind a torn line", line_models::two_processes_append_behind_a_torn_line),
    ("two threads append", line_models::two_threads_append),
    ("three processes append", line_models::three_processes_append),
];

/// Runs the model of this name in every order; one that goes wrong ends the program.
fn main() -> Result<(), String> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some((_, model)) = MODELS.iter().find(|(known, _)| *known == name) else {
        return Err(format!("there is no model `{name}`"));
    };
    println!("{} orders", model());
    Ok(())
}
