//! How much may be dumped.

/// The most that may be dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls.
    pub max_count: u64,
    /// Bytes of all files: tensors, metadata and session lines.
    pub max_bytes: u64,
    /// Bytes that stay free where dumps go, for everybody else who writes there; 0: none.
    pub min_free_bytes: u64,
}

/// FlashInfer's defaults, 1,000 calls and 20 GB of 2^30 bytes; and 256 MiB that stay free, which
/// FlashInfer has not.
impl Default for Limits {
    fn default() -> Limits {
        Limits { max_count: 1000, max_bytes: 20 << 30, min_free_bytes: 256 << 20 }
    }
}

impl Limits {
    /// Returns the most that may be used.
    pub fn most(&self) -> Usage {
        Usage { calls: self.max_count, bytes: self.max_bytes }
    }
}

/// What is used of the limits: dumped, or reserved by calls that are being dumped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls.
    pub calls: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Usage {
    /// Adds two usages; `None` where that is more than `most`, in calls or in bytes. What nothing is added to may be past
    /// it: whoever used that may have had other limits.
    ///
    /// ```
    /// use callbox_core::Usage;
    ///
    /// let most = Usage { calls: 2, bytes: 100 };
    /// let used = Usage { calls: 1, bytes: 70 };
    /// assert_eq!(used.plus(Usage { calls: 1, bytes: 30 }, most), Some(most));
    /// assert_eq!(used.plus(Usage { calls: 0, bytes: 31 }, most), None);
    ///
    /// let less = Usage { calls: 2, bytes: 10 };
    /// assert_eq!(used.plus(Usage { calls: 1, bytes: 0 }, less), Some(Usage { calls: 2, bytes: 70 }));
    /// ```
    pub fn plus(self, amount: Usage, most: Usage) -> Option<Usage> {
        let within = |used: u64, amount: u64, most| match amount {
            0 => Some(used),
            _ => used.checked_add(amount).filter(|sum| *sum <= most),
        };
        Some(Usage {
            calls: within(self.calls, amount.calls, most.calls)?,
            bytes: within(self.bytes, amount.bytes, most.bytes)?,
        })
    }

    /// Takes a part away.
    pub fn minus(self, amount: Usage) -> Usage {
        Usage {
            calls: self.calls.saturating_sub(amount.calls),
            bytes: self.bytes.saturating_sub(amount.bytes),
        }
    }
}
