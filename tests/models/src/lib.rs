#![doc = include_str!("../README.md")]
#![expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "files of other crates, of which the models use a part"
)]

pub mod budget_models;
pub mod line_models;
mod model_disk;
mod orders;
pub mod per_process_models;
mod sync;

#[path = "../../../crates/core/src/budget.rs"]
mod budget;
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
#[path = "../../../crates/sink-fs/src/line_file.rs"]
mod line_file;

use callbox_core::planted;

use self::orders::orders;
