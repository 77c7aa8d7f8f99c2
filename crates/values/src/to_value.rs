//! The one trait that makes a type recordable.

use callbox_core::LiveValue;

/// Shows a value to the recorder.
///
/// Implemented for Rust's own types and, behind features, for those of ndarray and candle. An application
/// implements it for its tensors and for whatever else it wants to see in a record.
///
/// A value borrows: nothing is copied that need not be, and a tensor may hold the read lock of its storage.
/// So whoever makes values drops them before the recorded function runs, which may want to write. An
/// implementation should not panic; what cannot be shown is a [`Value::Opaque`] with a text.
///
/// A tensor type gives a view of its elements:
///
/// ```
/// use callbox_core::{DType, Layout};
/// use callbox_values::{LiveValue, TensorView, ToValue, Value};
///
/// /// A matrix of bytes, column after column.
/// struct Columns {
///     rows: usize,
///     columns: usize,
///     bytes: Vec<u8>,
/// }
///
/// impl ToValue for Columns {
///     fn to_value(&self) -> LiveValue<'_> {
///         let view = Layout::new(&[self.rows, self.columns], &[1, self.rows], 0)
///             .and_then(|layout| TensorView::new(DType::UInt8, layout, &self.bytes));
///         match view {
///             Ok(view) => Value::Tensor(view),
///             Err(error) => Value::Opaque { class: "Columns".into(), repr: error.to_string().into() },
///         }
///     }
/// }
///
/// let matrix = Columns { rows: 2, columns: 3, bytes: vec![1, 4, 2, 5, 3, 6] };
/// assert!(matches!(matrix.to_value(), Value::Tensor(view) if view.layout.strides() == [1, 2]));
/// ```
///
/// A struct becomes a dictionary of those fields that matter:
///
/// ```
/// use callbox_values::{LiveValue, ToValue, Value};
///
/// struct Sampling {
///     temperature: f32,
///     stop: Vec<String>,
/// }
///
/// impl ToValue for Sampling {
///     fn to_value(&self) -> LiveValue<'_> {
///         Value::Map(vec![
///             (Value::text("temperature"), self.temperature.to_value()),
///             (Value::text("stop"), self.stop.to_value()),
///         ])
///     }
/// }
/// # assert!(matches!(Sampling { temperature: 1.0, stop: Vec::new() }.to_value(), Value::Map(_)));
/// ```
///
/// For enums there is [`record_enum!`](crate::record_enum).
///
/// [`Value::Opaque`]: callbox_core::Value::Opaque
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be recorded",
    label = "does not implement `ToValue`",
    note = "implement `callbox::ToValue` for it (for a type of your own around it, where it is another crate's), or leave it out by the option `skip`"
)]
pub trait ToValue {
    /// Returns the value as the recorder takes it.
    fn to_value(&self) -> LiveValue<'_>;
}
