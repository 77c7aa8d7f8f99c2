//! The order of tokens and heads in keys and values.

use callbox_core::{Bound, ExecError};

use crate::operand;

/// FlashInfer's `kv_layout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvLayout {
    /// Token, head, element.
    Nhd,
    /// Head, token, element.
    Hnd,
}

impl KvLayout {
    /// Reads the argument `kv_layout`.
    pub(crate) fn read(arguments: &Bound<'_>) -> Result<KvLayout, ExecError> {
        match arguments.text("kv_layout")? {
            "NHD" => Ok(KvLayout::Nhd),
            "HND" => Ok(KvLayout::Hnd),
            other => Err(operand::wrong_value("kv_layout", other, "expected NHD or HND")),
        }
    }
}
