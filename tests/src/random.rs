//! Random numbers that can be had again.

/// A sequence of random numbers (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed and of a place in the test, so that each place can be had again alone.
    pub fn of(seed: u64, place: &[usize]) -> Random {
        let mut random = Random(seed | 1);
        for number in place {
            random.0 = (random.next() ^ *number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        }
        random
    }

    /// Returns the next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Returns the seed that `CALLBOX_SEED` names.
#[expect(clippy::disallowed_methods, reason = "a seed replays what was seen")]
pub fn given_seed() -> Option<u64> {
    std::env::var("CALLBOX_SEED").ok()?.parse().ok()
}
