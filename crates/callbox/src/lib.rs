#![doc = include_str!("../README.md")]

mod config;
mod disclosure;
mod environment;
mod global;
#[doc(hidden)]
pub mod macro_support;
mod session;
mod variables;
mod versions;

pub use callbox_core as core;
pub use callbox_core::{
    DType, Ending, FailurePolicy, Health, Level, Limits, LiveValue, OwnedValue, PendingCall, Recorder,
    TensorBuf, TensorView, Value,
};
#[cfg(feature = "cuda")]
pub use callbox_kernels_cuda as cuda;
pub use callbox_macros::record;
pub use callbox_registry::{Registry, registry};
pub use callbox_replay as replay;
pub use callbox_sink_fs::{Durability, Hashing};
pub use callbox_sink_stdio::LogDestination;
pub use callbox_values::{
    FromValue, FromValueError, ObjectId, Returned, ToValue, elements_of, record_enum, tensor_of,
};

pub use self::config::{Config, DEFAULT_PREFIX, DumpFormat, LimitScope};
pub use self::environment::{from_env, from_env_with_prefix};
pub use self::global::{Guard, clear_graph_dumps, flush_graph_dumps, install};
pub use self::session::open_session;
pub use self::variables::Warning;
