#![doc = include_str!("../README.md")]

mod destination;
mod log_file;
mod sink;
mod text;

pub use self::destination::{LogDestination, with_process_id};
pub use self::sink::StdioSink;
