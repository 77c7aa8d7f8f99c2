//! What the log's header and the records say of the program.

/// The compiler, as it names itself.
const RUSTC: &str = env!("CALLBOX_RUSTC_VERSION");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Label and value of each line of the log's header.
pub(crate) fn system_lines() -> Vec<(String, String)> {
    let lines =
        [("callbox version", VERSION), ("Rust version", RUSTC), ("CUDA", "Not available (CPU-only mode)")];
    lines.map(|(label, value)| (label.to_owned(), value.to_owned())).to_vec()
}

/// Versions by library, for the records.
pub(crate) fn versions() -> Vec<(String, String)> {
    [("callbox", VERSION), ("rust", RUSTC)]
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .to_vec()
}
