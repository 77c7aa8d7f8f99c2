//! Four-bit floats with a scale for each block: quantising to them, and multiplying them.

mod product;
mod quantize;

pub(crate) use self::product::multiply;
pub(crate) use self::quantize::quantize;
