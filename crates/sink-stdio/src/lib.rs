#![doc = include_str!("../README.md")]

mod destination;
mod log_file;
mod sink;
mod size_limit;
mod stream;
mod text;
mod turn;

pub use self::destination::{LogDestination, with_process_id};
pub use self::sink::StdioSink;
