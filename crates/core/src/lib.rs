#![doc = include_str!("../README.md")]

pub mod arguments;
mod budget;
pub mod call;
pub mod callsite;
pub mod contract;
mod describe;
pub mod device;
pub mod dtype;
pub mod dump;
pub mod dump_file;
pub mod elements;
pub mod error;
pub mod event;
pub mod filter;
pub mod gate;
pub mod health;
pub mod layout;
pub mod level;
pub mod limits;
pub mod live;
mod logical;
pub mod name;
pub mod narrow_float;
mod not_dumped;
pub mod per_process;
#[doc(hidden)]
pub mod planted;
pub mod ports;
pub mod process;
pub mod python;
pub mod quote;
pub mod record;
pub mod recorder;
pub mod signature;
pub mod statistics;
mod sync;
pub mod tensor;
pub mod tensor_file;
pub mod text;
pub mod value;
mod warnings;

pub use arguments::{Arguments, Bound};
pub use bytes::Bytes;
pub use call::{CallState, DumpedCall, Finding, GroupSummary, LoadedRecord, ProcessKey, Session};
pub use callsite::Callsite;
pub use contract::{Contract, ResultRule};
pub use device::Device;
pub use dtype::{DType, DTypeKind};
pub use dump_file::{FilePlan, Format, Line, Remark, WrittenFile};
pub use error::{ExecError, FormatError, SinkError, SourceError, StageError};
pub use event::Event;
pub use filter::Filter;
pub use gate::FailurePolicy;
pub use health::{Ending, Fault, FaultKind, Health};
pub use layout::{Layout, LayoutError, Run};
pub use level::Level;
pub use limits::{Limits, Usage};
pub use live::{ArgumentPlace, LiveArguments, LiveResult};
pub use name::{FunctionName, Group, SlotName};
pub use per_process::PerProcess;
pub use ports::{
    CapturedSlot, Clock, DeviceMemory, DumpSink, DumpSlot, DumpSource, Executor, FlushSlot, Host, Instance,
    LogSink, TensorSerializer, UsageCounter, UsageStore,
};
pub use process::Process;
pub use quote::Quoted;
pub use record::{
    CallRecord, ExecutionStatus, FileHash, GraphFlush, Origin, RecordedError, RecordedFile, TensorInfo,
};
pub use recorder::{Adapters, PendingCall, Recorder, Settings};
pub use signature::Signature;
pub use statistics::{SpecialCounts, Statistics, Stats};
pub use tensor::{Flags, HostBytes, StorageBytes, StorageId, StorageView, TensorBuf, TensorMeta, TensorView};
pub use tensor_file::{LoadedTensor, TensorGroup, TensorMap};
pub use text::Text;
pub use value::{Int, LiveValue, MetaTensor, MetaValue, OwnedValue, Value};
