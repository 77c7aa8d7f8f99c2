//! Factors of rows or heads.

use callbox_core::TensorBuf;

/// One number for all rows, or heads, or one for each.
#[derive(Clone, Copy, Debug)]
pub enum Factors<'a> {
    /// The same for all.
    Same(f32),
    /// Floats `[n]` for `n` rows or heads.
    Each(&'a TensorBuf),
}
