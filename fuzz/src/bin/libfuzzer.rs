//! A target under libFuzzer: `CALLBOX_FUZZ_TARGET` names it. `cargo xtask fuzz` builds and starts it.
#![no_main]

use std::sync::LazyLock;

use callbox_fuzz::{Target, bounded, find};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "libFuzzer reads the arguments itself")]
    let name = std::env::var("CALLBOX_FUZZ_TARGET").unwrap_or_default();
    find(&name).unwrap_or_else(|| panic!("CALLBOX_FUZZ_TARGET names no target: {name:?}"))
});

fuzz_target!(|input: &[u8]| bounded(TARGET.run, input));
