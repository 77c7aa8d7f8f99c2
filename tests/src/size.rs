//! How large the tests are.

use std::env;

/// Tells whether the tests run in their large sizes, as `cargo xtask soak` asks by `CALLBOX_SOAK=1`.
#[expect(clippy::disallowed_methods, reason = "how long a test may take is for its caller to say")]
pub fn soaks() -> bool {
    env::var_os("CALLBOX_SOAK").is_some_and(|value| value == "1")
}

/// Returns the length of the text that call `number` of a worker has: small ones mostly, a megabyte now and then.
pub fn payload_bytes(number: u64) -> usize {
    // Knuth's multiplicative hash: no two neighbours are alike.
    let random = (number.wrapping_mul(2_654_435_761) & 0xffff_ffff) as usize;
    match number % 256 {
        0 => 1_000_000,
        part if part % 16 == 0 => random % 60_000,
        _ => random % 1_500,
    }
}
