//! How fast each pair of a head turns.

use std::f32::consts::PI;

/// The base of the frequencies, and what is done to them for a longer context.
///
/// Computed here for every device: they follow from the options alone, and a power that differs in its last bit
/// would turn late tokens by another angle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frequencies {
    /// The base: pair `i` of a turning part of `n` elements has the frequency `theta^(-2i/n)`.
    pub theta: f32,
    /// What becomes of the frequencies.
    pub stretch: Stretch,
}

/// How frequencies are stretched to a longer context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stretch {
    /// `f / scale` (Chen et al., "Extending Context Window of Large Language Models via Positional
    /// Interpolation", 2023).
    Divided {
        /// Divides each frequency.
        scale: f32,
    },
    /// As Llama 3.1 does it (Grattafiori et al., "The Llama 3 Herd of Models", 2024): with
    /// `turns = old_context_len * f / 2 pi` and `fast = clamp((turns - low_freq_factor) / (high_freq_factor -
    /// low_freq_factor), 0, 1)`, `(1 - fast) * f / scale + fast * f`.
    Llama31 {
        /// Divides slow frequencies.
        scale: f32,
        /// Turns within the old context up to which a frequency is slow.
        low_freq_factor: f32,
        /// Turns within the old context from which on a frequency is fast, and stays.
        high_freq_factor: f32,
        /// Tokens of the old context.
        old_context_len: f32,
    },
}

impl Frequencies {
    /// Returns the frequency of each of the `rotary_dim / 2` pairs, in radians a token.
    pub fn of_pairs(&self, rotary_dim: usize) -> Vec<f32> {
        let plain = |pair: usize| 1.0 / self.theta.powf((2 * pair) as f32 / rotary_dim as f32);
        (0..rotary_dim / 2).map(|pair| self.stretch.apply(plain(pair))).collect()
    }
}

impl Stretch {
    fn apply(self, frequency: f32) -> f32 {
        match self {
            Stretch::Divided { scale } => frequency / scale,
            Stretch::Llama31 { scale, low_freq_factor, high_freq_factor, old_context_len } => {
                let turns = old_context_len * frequency / (2.0 * PI);
                let range = high_freq_factor - low_freq_factor;
                let fast = ((turns - low_freq_factor) / range).clamp(0.0, 1.0);
                (1.0 - fast) * frequency / scale + fast * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_counts_turning_elements() {
        let frequencies = Frequencies { theta: 1e4, stretch: Stretch::Divided { scale: 1.0 } };
        let expected = [1.0, 0.1, 0.01, 0.001];
        for (frequency, expected) in frequencies.of_pairs(8).into_iter().zip(expected) {
            assert!((frequency / expected - 1.0f32).abs() < 1e-6, "{frequency} {expected}");
        }
    }

    #[test]
    fn llama_leaves_fast_frequencies_divides_slow_ones_and_blends_between() {
        let stretch = Stretch::Llama31 {
            scale: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            old_context_len: 8192.0,
        };
        // In turns within the old context: 4 and more are fast, 1 and fewer slow.
        for (turns, factor) in [(40.0, 1.0), (4.0, 1.0), (2.5, 0.5 / 8.0 + 0.5), (1.0, 0.125), (0.1, 0.125)] {
            let frequency = turns * 2.0 * PI / 8192.0;
            let scaled = stretch.apply(frequency);
            assert!((scaled / frequency - factor).abs() < 1e-6, "{turns} turns: {}", scaled / frequency);
        }
    }
}
