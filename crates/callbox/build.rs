//! Tells the crate which compiler builds it.

use std::env;
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script everything by the environment")]
fn main() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().ok();
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    // "rustc 1.95.0 (59807616e 2026-04-14)"
    let version = text.split(' ').nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=CALLBOX_RUSTC_VERSION={version}");
    println!("cargo::rerun-if-changed=build.rs");
}
