//! One suite for each port: what every adapter must do, whatever its technology.

mod device;
mod executor;
mod files;
mod log;
mod serializer;
mod sink;
mod source;
mod usage;

pub use device::device_memory;
pub use executor::{ExecutorCase, executor};
pub use files::{FilesCase, files};
pub use log::{LogCase, broken_log_sink, log_sink};
pub use serializer::serializer;
pub use sink::{Contents, ContentsOf, SinkCase, dump_sink};
pub use source::source;
pub use usage::usage_store;
