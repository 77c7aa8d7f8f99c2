//! Turning pairs of elements, and how fast each pair turns.

use std::f32::consts::PI;

/// Which elements of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// `(x[i], x[i + n/2])`, as GPT-NeoX pairs them.
    Halves,
    /// `(x[2i], x[2i + 1])`, as GPT-J pairs them.
    Neighbours,
}

/// Cosines and sines of the pairs of one token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) cosines: Vec<f32>,
    pub(crate) sines: Vec<f32>,
}

impl Turn {
    /// Turns pair `i` by `position * frequencies[i]` radians; the angle is rounded to f32 before its cosine is
    /// taken.
    pub(crate) fn at(position: f32, frequencies: &[f32]) -> Turn {
        let angles = frequencies.iter().map(|frequency| position * frequency);
        Turn { cosines: angles.clone().map(f32::cos).collect(), sines: angles.map(f32::sin).collect() }
    }

    /// Turns the pairs of the first `2 * cosines.len()` elements of a head: `(a, b)` becomes
    /// `(a cos - b sin, b cos + a sin)`.
    pub(crate) fn apply(&self, head: &mut [f32], pairing: Pairing) {
        let pairs = self.cosines.len();
        for (i, (cos, sin)) in self.cosines.iter().zip(&self.sines).enumerate() {
            let (first, second) = match pairing {
                Pairing::Halves => (i, i + pairs),
                Pairing::Neighbours => (2 * i, 2 * i + 1),
            };
            let (a, b) = (head[first], head[second]);
            head[first] = a * cos - b * sin;
            head[second] = b * cos + a * sin;
        }
    }
}

/// Returns `theta^(-2i/n)` for each of the `n/2` pairs of `n` elements, in radians a token.
pub(crate) fn frequencies(rotary_dim: usize, theta: f32) -> Vec<f32> {
    (0..rotary_dim / 2).map(|pair| 1.0 / theta.powf((2 * pair) as f32 / rotary_dim as f32)).collect()
}

/// How Llama 3.1 stretches frequencies to a longer context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LlamaScaling {
    pub(crate) scale: f32,
    pub(crate) low_freq_factor: f32,
    pub(crate) high_freq_factor: f32,
    pub(crate) old_context_len: f32,
}

impl LlamaScaling {
    /// Divides slow frequencies by the scale, leaves fast ones, and blends between.
    pub(crate) fn apply(&self, frequency: f32) -> f32 {
        let turns = self.old_context_len * frequency / (2.0 * PI);
        let range = self.high_freq_factor - self.low_freq_factor;
        let fast = ((turns - self.low_freq_factor) / range).clamp(0.0, 1.0);
        (1.0 - fast) * frequency / self.scale + fast * frequency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_are_rounded_to_f32() {
        // f32 cannot tell this position from the next, and the product below is rounded once more.
        let turn = Turn::at(16_777_217_i64 as f32, &[1.0]);
        assert_eq!(turn.cosines, [16_777_216_f32.cos()]);
        let frequency = frequencies(4, 1e4)[1];
        let angle = 5001.0 * frequency;
        assert_ne!(f64::from(angle), 5001.0 * f64::from(frequency));
        assert_eq!(Turn::at(5001.0, &[frequency]).sines, [angle.sin()]);
    }

    #[test]
    fn the_exponent_counts_turning_elements() {
        let expected = [1.0, 0.1, 0.01, 0.001];
        for (frequency, expected) in frequencies(8, 1e4).into_iter().zip(expected) {
            assert!((frequency / expected - 1.0f32).abs() < 1e-6, "{frequency} {expected}");
        }
    }

    #[test]
    fn llama_leaves_fast_frequencies_divides_slow_ones_and_blends_between() {
        let scaling =
            LlamaScaling { scale: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, old_context_len: 8192.0 };
        // In turns within the old context: 4 and more are fast, 1 and fewer slow.
        for (turns, factor) in [(40.0, 1.0), (4.0, 1.0), (2.5, 0.5 / 8.0 + 0.5), (1.0, 0.125), (0.1, 0.125)] {
            let frequency = turns * 2.0 * PI / 8192.0;
            let scaled = scaling.apply(frequency);
            assert!((scaled / frequency - factor).abs() < 1e-6, "{turns} turns: {}", scaled / frequency);
        }
    }
}
