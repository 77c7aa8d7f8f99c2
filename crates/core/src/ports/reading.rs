//! Where recorded calls come from.

use std::fmt::Debug;

use crate::call::{DumpedCall, LoadedRecord, Session};
use crate::error::SourceError;
use crate::name::Group;
use crate::tensor_file::TensorMap;

/// Gives recorded calls back; reading is another role than writing.
///
/// ```
/// use callbox_core::{DumpSource, Group, SourceError};
///
/// /// Shows what the calls were given that never returned.
/// fn show_crashes(source: &dyn DumpSource) -> Result<(), SourceError> {
///     for call in source.calls()?.calls.iter().filter(|call| call.state.is_suspected_crash()) {
///         println!("{}({:?})", call.function, source.record(call)?.record.input_metadata);
///         if let Some(inputs) = source.load(call, Group::Inputs)? {
///             inputs.iter().for_each(|(key, tensor)| println!("  {key}: {tensor:?}"));
///         }
///     }
///     Ok(())
/// }
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait DumpSource: Debug + Send + Sync {
    /// Lists the calls in recorded order. `Ok`: every call folder appears once, whatever its state.
    fn calls(&self) -> Result<Session, SourceError>;
    /// Reads a call's own record. `Ok`: the last whole line of its folder.
    fn record(&self, call: &DumpedCall) -> Result<LoadedRecord, SourceError>;
    /// Loads a group's tensors; `None` where the call has no such file. `Ok`: decoded and verified.
    fn load(&self, call: &DumpedCall, group: Group) -> Result<Option<TensorMap>, SourceError>;
}
