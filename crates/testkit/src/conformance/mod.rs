//! One suite for each port: what every adapter must do, whatever its technology.

mod executor;
mod serializer;
mod sink;
mod source;

pub use executor::{ExecutorCase, executor};
pub use serializer::serializer;
pub use sink::{Contents, ContentsOf, SinkCase, dump_sink};
pub use source::source;
