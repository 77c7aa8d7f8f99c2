//! Where the corpus of real sessions lies.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Returns the folder of the corpus of real sessions; says that `test` is left out where there is none.
///
/// The environment variable `CALLBOX_CORPUS` names the folder; without it, a folder `shared/corpus` beside the
/// repository is tried.
#[expect(clippy::disallowed_methods, reason = "where the corpus lies is the environment's matter")]
pub fn corpus(test: &str) -> Option<PathBuf> {
    let folder = env::var_os("CALLBOX_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"), PathBuf::from);
    if folder.join("truth.json").is_file() {
        return Some(folder);
    }
    left_out(test);
    None
}

/// Says it on stderr itself: what a passing test prints is kept back.
fn left_out(test: &str) {
    let line = format!("left out: {test} needs the corpus of real sessions (set CALLBOX_CORPUS)\n");
    io::stderr().write_all(line.as_bytes()).ok();
}
