//! What the log's header and the records say of the program.

use callbox_core::Level;

/// The compiler, as it names itself.
const RUSTC: &str = env!("CALLBOX_RUSTC_VERSION");
const NO_CUDA: &str = "Not available (CPU-only mode)";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Label and value of each line of the log's header; none where there is no log, for which nobody is asked.
pub(crate) fn system_lines(level: Level) -> Vec<(String, String)> {
    if level == Level::Off {
        return Vec::new();
    }
    let cuda = cuda();
    [("callbox version", VERSION), ("Rust version", RUSTC), ("CUDA", &cuda)]
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .to_vec()
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> String {
    NO_CUDA.to_owned()
}

/// The driver is asked for its version, and not started: that is the application's to do.
#[cfg(feature = "cuda")]
fn cuda() -> String {
    callbox_kernels_cuda::driver_version()
        .map_or_else(|_| NO_CUDA.to_owned(), |version| format!("driver for {version}"))
}

/// Versions by library, for the records.
pub(crate) fn versions() -> Vec<(String, String)> {
    [("callbox", VERSION), ("rust", RUSTC)]
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .to_vec()
}
