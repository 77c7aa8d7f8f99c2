#![doc = include_str!("../README.md")]

mod to_value;

mod from_value;
mod returned;

mod enumeration;
mod map;
mod python_class;
mod scalar;
mod sequence;
mod tuple;
mod wrapper;

mod element;
mod object_id;
mod owned;
mod tensor;

#[cfg(feature = "candle")]
mod candle;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "ndarray")]
mod ndarray;

pub use callbox_core::{LiveValue, OwnedValue, RecordedError, TensorBuf, TensorView, Value};

pub use element::Element;
pub use enumeration::enum_member;
pub use from_value::{FromValue, FromValueError};
pub use object_id::ObjectId;
pub use owned::to_owned_value;
pub use returned::{Returned, recorded_error};
pub use tensor::{elements_of, tensor_of};
pub use to_value::ToValue;
